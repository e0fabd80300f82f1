"""What the infrastructure promises of the network and the edge."""

from __future__ import annotations

import re

from tests.support.infra.snapshots import FULL, Snapshot

ADDRESS = "Microsoft.Network/publicIPAddresses"
GATEWAY = "Microsoft.Network/applicationGateways"
ORIGIN = re.compile(r"https://[a-z0-9.-]+(:[0-9]+)?")
FIREWALL = "Microsoft.Network/azureFirewalls"
WEB_FIREWALL = "Microsoft.Network/ApplicationGatewayWebApplicationFirewallPolicies"
APP = "Microsoft.Web/sites"


def one_way_in(snapshot: Snapshot) -> list[str]:
    """Only the gateway's address takes a connection; in development the app's own does."""
    addresses = {item["id"] for item in snapshot.of(ADDRESS)}
    app = snapshot.one(APP)["properties"]
    wrong = []
    entrances = {
        frontend["properties"]["publicIPAddress"]["id"]
        for gateway in snapshot.of(GATEWAY)
        for frontend in gateway["properties"]["frontendIPConfigurations"]
    }
    exits = {
        part["properties"]["publicIPAddress"]["id"]
        for firewall in snapshot.of(FIREWALL)
        for part in firewall["properties"]["ipConfigurations"]
    } | {
        part["id"]
        for nat in snapshot.of("Microsoft.Network/natGateways")
        for part in nat["properties"]["publicIpAddresses"]
    }
    if addresses != entrances | exits or entrances & exits:
        wrong.append("a public address belongs to neither the gateway nor the way out")
    if snapshot.environment in FULL:
        if len(entrances) != 1:
            wrong.append(f"{len(entrances)} ways in")
        if app["publicNetworkAccess"] != "Disabled":
            wrong.append("the app has a way in beside the gateway")
    else:
        if entrances:
            wrong.append("development has a gateway")
        site = app["siteConfig"]
        if site["ipSecurityRestrictionsDefaultAction"] != "Deny" or any(
            rule["ipAddress"] in ("0.0.0.0/0", "Any") for rule in site["ipSecurityRestrictions"]
        ):
            wrong.append("anyone can reach development")
    # A rule that forwards from outside would turn the way out into a way in.
    for firewall in snapshot.of(FIREWALL):
        if firewall["properties"].get("natRuleCollections"):
            wrong.append("the firewall forwards from outside")
    for group in snapshot.of("Microsoft.Network/firewallPolicies/ruleCollectionGroups"):
        for collection in group["properties"]["ruleCollections"]:
            if collection["ruleCollectionType"] != "FirewallPolicyFilterRuleCollection":
                wrong.append("the firewall forwards from outside")
    return wrong


def edge_tls(snapshot: Snapshot) -> list[str]:
    """The gateway speaks TLS 1.2 with one suite, and 1.3; it sends HTTP to HTTPS of the same host."""
    if snapshot.environment not in FULL:
        return []
    gateway = snapshot.one(GATEWAY)["properties"]
    wrong = []
    policy = gateway["sslPolicy"]
    if (policy["policyType"], policy["minProtocolVersion"]) != ("CustomV2", "TLSv1_2"):
        wrong.append(f"policy {policy['policyType']} {policy['minProtocolVersion']}")
    if policy["cipherSuites"] != ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"]:
        wrong.append(f"suites {policy['cipherSuites']}")
    listeners = {item["name"]: item["properties"] for item in gateway["httpListeners"]}
    redirects = {item["name"]: item["properties"] for item in gateway["redirectConfigurations"]}
    for rule in gateway["requestRoutingRules"]:
        name = _last(rule["properties"]["httpListener"])
        redirect = rule["properties"].get("redirectConfiguration")
        plain = listeners[name]["protocol"] != "Https"
        if plain and not redirect:
            wrong.append(f"{name} serves without TLS")
        if not plain and redirect:
            wrong.append(f"{name} only redirects")
        # Another host would learn the query of the address, which for an upload is its signature.
        if redirect:
            target = listeners[_last(redirects[_last(redirect)]["targetListener"])]
            host = listeners[name].get("hostName")
            if (target["protocol"], target["hostName"]) != ("Https", host):
                wrong.append(f"{name} sends clients to another host")
    headers = {
        header["headerName"]: header["headerValue"]
        for rules in gateway["rewriteRuleSets"]
        for rule in rules["properties"]["rewriteRules"]
        for header in rule["actionSet"]["responseHeaderConfigurations"]
    }
    if not headers.get("Strict-Transport-Security", "").startswith("max-age=63072000"):
        wrong.append("no HSTS")
    for settings in gateway["backendHttpSettingsCollection"]:
        if settings["properties"]["protocol"] != "Https":
            wrong.append(f"{settings['name']} is reached without TLS")
    certificate = gateway["sslCertificates"][0]["properties"]
    if not certificate.get("keyVaultSecretId", "").endswith("/secrets/tls"):
        wrong.append("the certificate is not in Key Vault")
    return wrong


def web_firewall(snapshot: Snapshot) -> list[str]:
    """What comes in is checked, and what is not an API request or a staged upload is blocked."""
    if snapshot.environment not in FULL:
        return []
    wrong = []
    policies = {
        item["name"].split("-")[-1]: item["properties"] for item in snapshot.of(WEB_FIREWALL)
    }
    if set(policies) != {"api", "contents", "uploads"}:
        return [f"policies {sorted(policies)}"]
    for name, policy in policies.items():
        settings = policy["policySettings"]
        if (settings["state"], settings["mode"]) != ("Enabled", "Prevention"):
            wrong.append(f"{name} only watches")
        if not policy["managedRules"]["managedRuleSets"]:
            wrong.append(f"{name} has no managed rules")
        off = {
            rule["ruleId"]
            for rules in policy["managedRules"]["managedRuleSets"]
            for group in rules.get("ruleGroupOverrides", [])
            for rule in group["rules"]
        }
        # It knows a few media types; a content may have any, and JSON routes take JSON.
        if off != (set() if name == "api" else {"920420"}):
            wrong.append(f"{name} has these managed rules off: {sorted(off)}")
        scrubbed = {
            rule["selector"]
            for rule in settings.get("logScrubbing", {}).get("scrubbingRules", [])
            if settings["logScrubbing"]["state"] == rule["state"] == "Enabled"
        }
        if "sig" not in scrubbed:
            wrong.append(f"{name} writes signatures into its log")
        rules = {rule["name"]: rule for rule in policy["customRules"]}
        if any(rule["action"] != "Block" for rule in rules.values()):
            wrong.append(f"{name} has a rule that does not block")
        if rules.get("rate", {}).get("ruleType") != "RateLimitRule":
            wrong.append(f"{name} has no rate limit")
        needed = (
            {"onlyPut", "onlyStaging", "onlySigned"}
            if name == "uploads"
            else {"onlyTheApi", "plainPaths", "staffFromTheirNetworks", "signInRate"}
        )
        wrong += [f"{name} lacks {rule}" for rule in sorted(needed - set(rules))]
        staff = rules.get("staffFromTheirNetworks", {}).get("matchConditions", [])
        if name != "uploads" and not any(
            condition["operator"] == "IPMatch"
            and condition["negationConditon"]
            and "0.0.0.0/0" not in condition["matchValues"]
            for condition in staff
        ):
            wrong.append(f"{name} lets staff in from anywhere")
    if not policies["api"]["policySettings"]["requestBodyCheck"]:
        wrong.append("bodies are not read")
    gateway = snapshot.one(GATEWAY)["properties"]
    for listener in gateway["httpListeners"]:
        if listener["properties"]["protocol"] == "Https" and not listener["properties"].get(
            "firewallPolicy"
        ):
            wrong.append(f"{listener['name']} has no policy")
    return wrong


def downloads_stream(snapshot: Snapshot) -> list[str]:
    """A download passes the gateway as it comes; requests stay buffered, as the web firewall needs."""
    if snapshot.environment not in FULL:
        return []
    said = snapshot.one(GATEWAY)["properties"].get("globalConfiguration", {})
    wrong = []
    # Both are on by default.
    if said.get("enableResponseBuffering", True):
        wrong.append("a download waits until the gateway has all of it")
    if not said.get("enableRequestBuffering", True):
        wrong.append("Azure refuses a web firewall that cannot read requests whole")
    return wrong


def browsers_named(snapshot: Snapshot) -> list[str]:
    """Web pages of named origins alone may call the API and put staged uploads, and ask no other store."""
    app = snapshot.one(APP)["properties"]
    settings = {item["name"]: item["value"] for item in app["siteConfig"]["appSettings"]}
    named = set(settings["STRONGROOM_CORS_ORIGINS"].split())
    wrong = [f"{origin} is no origin" for origin in named if not ORIGIN.fullmatch(origin)]
    if app["siteConfig"].get("cors"):
        wrong.append("the platform responds to preflights itself")
    for blobs in snapshot.of("Microsoft.Storage/storageAccounts/blobServices"):
        account = blobs["id"].split("/")[-3]
        rules = blobs["properties"]["cors"]["corsRules"]
        if rules and not account.startswith("stage"):
            wrong.append(f"web pages may ask {account}")
        for rule in rules:
            if rule["allowedMethods"] != ["PUT"]:
                wrong.append(f"web pages may {rule['allowedMethods']} at {account}")
            if set(rule["allowedOrigins"]) != named:
                wrong.append(f"web pages of other origins may ask {account}")
    return wrong


def names_only(snapshot: Snapshot) -> list[str]:
    """The app reaches the outside only through the firewall, and only full names on a list."""
    wrong = []
    for network in snapshot.of("Microsoft.Network/virtualNetworks"):
        for subnet in network["properties"]["subnets"]:
            properties = subnet["properties"]
            if properties.get("defaultOutboundAccess") is not False:
                wrong.append(f"{subnet['name']} reaches the outside by default")
            if subnet["name"] != "AzureFirewallSubnet" and "networkSecurityGroup" not in properties:
                wrong.append(f"{subnet['name']} has no security group")
            if (
                snapshot.environment in FULL
                and subnet["name"] == "application"
                and not properties.get("routeTable", {}).get("id")
            ):
                wrong.append("the app passes by the firewall")
            # Azure's route to such a service goes before ours, to every customer's resources of its kind.
            if snapshot.environment in FULL and properties.get("serviceEndpoints"):
                wrong.append(f"{subnet['name']} has a way around the firewall")
    for group in snapshot.of("Microsoft.Network/networkSecurityGroups"):
        last = group["properties"]["securityRules"][-1]["properties"]
        if (last["direction"], last["access"], last["sourceAddressPrefix"]) != (
            "Inbound",
            "Deny",
            "*",
        ):
            wrong.append(f"{group['name']} lets in what it does not name")
    if snapshot.environment not in FULL:
        return wrong
    for table in snapshot.of("Microsoft.Network/routeTables"):
        (route,) = table["properties"]["routes"]
        if (route["properties"]["addressPrefix"], route["properties"]["nextHopType"]) != (
            "0.0.0.0/0",
            "VirtualAppliance",
        ):
            wrong.append(f"{table['name']} passes by the firewall")
    # The tokens of identities come from numbered hosts under this one name of Azure's own.
    allowed_wildcards = {"*.identity.azure.net"}
    (group,) = snapshot.of("Microsoft.Network/firewallPolicies/ruleCollectionGroups")
    named = {
        name
        for collection in group["properties"]["ruleCollections"]
        for rule in collection["rules"]
        for name in rule.get("targetFqdns", [])
    }
    # The Functions host does not start without the answer of this one.
    if "cdn.functions.azure.com" not in named:
        wrong.append("the host cannot fetch its extensions")
    for collection in group["properties"]["ruleCollections"]:
        for rule in collection["rules"]:
            if rule["ruleType"] != "ApplicationRule":
                wrong.append(f"{rule['name']} allows addresses, not names")
                continue
            wrong += [
                f"{rule['name']} allows {name}"
                for name in rule["targetFqdns"]
                if "*" in name and name not in allowed_wildcards
            ]
    return wrong


def app_reaches_its_services(snapshot: Snapshot) -> list[str]:
    """The app gets to its stores and its bus, and to no other port of anything."""
    (group,) = (
        item
        for item in snapshot.of("Microsoft.Network/networkSecurityGroups")
        if item["name"].endswith("-application") and item["location"] == _active(snapshot)
    )
    rules = [rule["properties"] for rule in group["properties"]["securityRules"]]
    out = [rule for rule in rules if rule["direction"] == "Outbound"]
    wrong = []
    last = max(out, key=lambda rule: rule["priority"])
    if (last["access"], last["destinationAddressPrefix"]) != ("Deny", "*"):
        wrong.append("the app reaches what no rule names")
    allowed = {
        (rule["destinationAddressPrefix"], port)
        for rule in out
        if rule["access"] == "Allow"
        for port in rule.get("destinationPortRanges") or [rule["destinationPortRange"]]
    }
    endpoints = next(
        subnet["properties"]["addressPrefix"]
        for network in snapshot.of("Microsoft.Network/virtualNetworks")
        if network["location"] == _active(snapshot)
        for subnet in network["properties"]["subnets"]
        if subnet["name"] == "endpoints"
    )
    wanted = {(endpoints, "443"), (endpoints, "5671"), ("Internet", "443")}
    # Service Bus speaks AMQP; where it has no private endpoint, at its public address.
    if snapshot.one("Microsoft.ServiceBus/namespaces")["properties"]["publicNetworkAccess"] != (
        "Disabled"
    ):
        wanted.add(("ServiceBus", "5671"))
    wrong += [f"the app does not reach {item}" for item in sorted(wanted - allowed)]
    wrong += [f"the app reaches {item}" for item in sorted(allowed - wanted)]
    return wrong


def names_of_tenants_resolve(snapshot: Snapshot) -> list[str]:
    """A tenant's account that is private elsewhere is found at its public address, not nowhere."""
    return [
        f"{link['id'].split('/privateDnsZones/')[1]} hides the accounts of tenants"
        for link in snapshot.of("Microsoft.Network/privateDnsZones/virtualNetworkLinks")
        if "privatelink.blob." in link["id"]
        and link["properties"].get("resolutionPolicy") != "NxDomainRedirect"
    ]


def _last(reference: dict[str, str]) -> str:
    """The name at the end of a reference."""
    return reference["id"].split("/")[-1]


def _active(snapshot: Snapshot) -> str:
    """The region in which the app runs."""
    return str(snapshot.one(APP)["location"])
