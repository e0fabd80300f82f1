"""What the infrastructure promises of identities, watching, and keeping it so."""

from __future__ import annotations

import re
from ipaddress import ip_network

from shared.wiring.settings import Settings
from tests.support.infra.snapshots import FULL, INFRA, Resource, Snapshot, texts

DOCS = INFRA.parent / "docs"
ASSIGNMENT = "Microsoft.Authorization/roleAssignments"
APP = "Microsoft.Web/sites"
GATEWAY = "Microsoft.Network/applicationGateways"

ROLE_NAMES = {
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "db58b8e5-c6ad-4a2a-8342-4190687cbf4a": "Storage Blob Delegator",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "e147488a-f6f5-4113-8e2d-b22465e65bf6": "Key Vault Crypto Service Encryption User",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "69a216fc-b8fb-44d8-bc22-1f3c2cd27a39": "Azure Service Bus Data Sender",
    "4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0": "Azure Service Bus Data Receiver",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "de139f84-1756-47ae-9be6-808fbbe84772": "Website Contributor",
}
"""Every built-in role that may be given; Owner, Contributor and their like are not among them."""

NO_LOGS = {
    "Microsoft.Authorization/locks",
    "Microsoft.Authorization/policyAssignments",
    "Microsoft.Authorization/policyDefinitions",
    "Microsoft.Authorization/roleAssignments",
    "Microsoft.Authorization/roleDefinitions",
    "Microsoft.Consumption/budgets",
    "Microsoft.DocumentDB/databaseAccounts/sqlDatabases",
    "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers",
    "Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments",
    "Microsoft.DocumentDB/databaseAccounts/sqlRoleDefinitions",
    "Microsoft.Insights/actionGroups",
    "Microsoft.Insights/activityLogAlerts",
    # Its tables are in the workspace already; a setting would send each line twice.
    "Microsoft.Insights/components",
    "Microsoft.Insights/diagnosticSettings",
    "Microsoft.Insights/metricAlerts",
    "Microsoft.Insights/privateLinkScopes",
    "Microsoft.Insights/privateLinkScopes/scopedResources",
    "Microsoft.Insights/scheduledQueryRules",
    "Microsoft.Insights/workbooks",
    "Microsoft.KeyVault/vaults/keys",
    "Microsoft.KeyVault/vaults/secrets",
    "Microsoft.ManagedIdentity/userAssignedIdentities",
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
    "Microsoft.Network/ApplicationGatewayWebApplicationFirewallPolicies",
    "Microsoft.Network/firewallPolicies",
    "Microsoft.Network/firewallPolicies/ruleCollectionGroups",
    "Microsoft.Network/natGateways",
    "Microsoft.Network/privateDnsZones",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks",
    "Microsoft.Network/privateEndpoints",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",
    "Microsoft.Network/routeTables",
    "Microsoft.Resources/resourceGroups",
    "Microsoft.Security/pricings",
    "Microsoft.ServiceBus/namespaces/topics",
    "Microsoft.ServiceBus/namespaces/topics/subscriptions",
    "Microsoft.ServiceBus/namespaces/topics/subscriptions/rules",
    "Microsoft.Storage/storageAccounts/blobServices/containers",
    "Microsoft.Storage/storageAccounts/managementPolicies",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies",
}
"""Types that have no logs of their own; any other type must send its logs."""

PLATFORM_SETTINGS = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AZURE_CLIENT_ID",
    "AZURE_TOKEN_CREDENTIALS",
    "AzureWebJobsStorage__accountName",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__credential",
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT",
    "PYTHON_ENABLE_INIT_INDEXING",
    "ServiceBus__clientId",
    "ServiceBus__credential",
    "ServiceBus__fullyQualifiedNamespace",
}
"""Read by the host and the SDKs, not by shared/wiring/settings.py."""


REQUESTS_PER_INSTANCE = {2048: 16, 4096: 32}
"""HTTP requests at once, by the memory of an instance; ``python -m bench.concurrency`` measures what they
take. Without the setting Azure gives a Python app one, and starts an instance for every further request."""


ADMINISTRATION = {
    "Microsoft.Authorization/roleAssignments/write",
    "Microsoft.Authorization/roleDefinitions/write",
    "Microsoft.Authorization/locks/delete",
    "Microsoft.Authorization/policyAssignments/delete",
    "Microsoft.Authorization/policyExemptions/write",
    "Microsoft.Insights/diagnosticSettings/delete",
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write",
    "Microsoft.Web/sites/config/write",
}
"""Acts by which someone could let himself in, or hide it: people hear of each at once."""


def everything_logged(snapshot: Snapshot) -> list[str]:
    """Whatever can tell what happened to it sends that to the workspace."""
    workspace = snapshot.one("Microsoft.OperationalInsights/workspaces")["id"]
    settings = snapshot.of("Microsoft.Insights/diagnosticSettings")
    sent = {
        item["id"].split("/providers/Microsoft.Insights/diagnosticSettings/")[0]
        for item in settings
        if item["properties"]["workspaceId"] == workspace
        and any(
            part["enabled"]
            for part in item["properties"].get("logs", []) + item["properties"].get("metrics", [])
        )
    }
    wrong = [
        f"{item['type']} {item['name']} is not logged"
        for item in snapshot.resources
        if item["type"] not in NO_LOGS and item["id"] not in sent
    ]
    archive = [item["properties"] for item in settings if "storageAccountId" in item["properties"]]
    if not any(
        {"Administrative", "Security", "Policy"} <= {log["category"] for log in item["logs"]}
        and "archive" in item["storageAccountId"]
        for item in archive
    ):
        wrong.append("the activity log is not archived")
    return wrong


def _setting_fields() -> dict[str, str]:
    prefix = Settings.model_config["env_prefix"]
    return {
        prefix + name.upper(): name
        for name, field in Settings.model_fields.items()
        if not isinstance(field.json_schema_extra, dict)
        or field.json_schema_extra.get("profile") not in ("embedded", "emulator")
    }


def app_settings(snapshot: Snapshot) -> list[str]:
    """The app gets every setting that it reads, no other, and values that it accepts."""
    given = {
        item["name"]: item["value"]
        for item in snapshot.one(APP)["properties"]["siteConfig"]["appSettings"]
    }
    fields = _setting_fields()
    ours = {name for name in given if name.startswith("STRONGROOM_")}
    wrong = [f"{name} is not set" for name in sorted(set(fields) - ours)]
    wrong += [f"{name} is not read by anything" for name in sorted(ours - set(fields))]
    wrong += [f"{name} is not set" for name in sorted(PLATFORM_SETTINGS - set(given))]
    wrong += [f"{name} is unknown" for name in sorted(set(given) - ours - PLATFORM_SETTINGS)]
    if wrong:
        return wrong
    read = Settings.model_validate({fields[name]: given[name] for name in ours})
    if (read.profile, read.environment) != ("azure", snapshot.environment):
        wrong.append(f"the app believes that it is {read.profile} {read.environment}")
    wrong += [
        f"{name} has no value" for name, field in fields.items() if getattr(read, field) is None
    ]
    if read.trusted_proxies != 1:
        wrong.append(f"1 proxy of ours is in front, not {read.trusted_proxies}")
    if read.key_protection != "hardware" and snapshot.environment in FULL:
        wrong.append("new keys are made in software")
    if not read.staff_networks:
        wrong.append("the app admits employees from anywhere")
    if not read.longest_delivery_pause_seconds:
        wrong.append("a function that fails uses up every delivery at once")
    if snapshot.environment in FULL:
        # The Functions host writes this one anew, with the address of the gateway.
        if read.client_address_header.lower() == "x-forwarded-for":
            wrong.append("the header with the client's address does not come through the host")
        said = [
            header
            for rules in snapshot.one(GATEWAY)["properties"]["rewriteRuleSets"]
            for rule in rules["properties"]["rewriteRules"]
            for header in rule["actionSet"]["requestHeaderConfigurations"]
        ]
        if {"headerName": read.client_address_header, "headerValue": "{var_client_ip}"} not in said:
            wrong.append("the gateway does not say the client's address")
    return wrong


def _scope(identifier: str) -> str:
    """What a role is given for, in the words of the table in docs/azure.md."""
    parts = identifier.split("/")
    kind, name = parts[-2], parts[-1]
    if kind == "containers":
        return f"container {name}"
    if kind == "storageAccounts":
        return "account staging" if "stage" in name else "account host"
    if kind == "vaults":
        return "key vault app" if "-app-" in name else "key vault platform"
    return {
        "topics": f"topic {name}",
        "components": "Application Insights",
        "sites": "function app",
    }[kind]


def _identity(principal: str) -> str:
    return principal.split("-")[-1]


def granted(snapshot: Snapshot) -> set[tuple[str, str, str]]:
    """Identity, role and scope of every assignment."""
    found = set()
    own = {item["name"]: item["properties"]["roleName"] for item in _own_roles(snapshot)}
    for item in snapshot.of(ASSIGNMENT):
        role = item["properties"]["roleDefinitionId"].split("/")[-1]
        name = ROLE_NAMES.get(role) or own.get(role, role)
        scope = item["id"].split("/providers/Microsoft.Authorization/")[0]
        found.add(
            (
                _identity(item["properties"]["principalId"]),
                re.sub(r" \(\w+\)$", "", name),
                _scope(scope),
            )
        )
    for item in snapshot.of("Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments"):
        found.add(
            (_identity(item["properties"]["principalId"]), "Strongroom record keeper", "records")
        )
    return found


def _own_roles(snapshot: Snapshot) -> list[Resource]:
    return snapshot.of("Microsoft.Authorization/roleDefinitions")


def documented() -> dict[tuple[str, str, str], set[str]]:
    """The role table of docs/azure.md: identity, role and scope, and in which environments."""
    text = (DOCS / "azure.md").read_text()
    table = text.split("<!-- roles -->")[1].split("<!-- /roles -->")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.strip().splitlines()[2:]
    ]
    every = {"development", "staging", "production"}
    return {
        (row[0], row[1], row[2]): every if row[3] == "all" else set(row[3].split(", "))
        for row in rows
    }


def roles(snapshot: Snapshot) -> list[str]:
    """Identities have the roles that the table says, and none that could take over."""
    wanted = {key for key, where in documented().items() if snapshot.environment in where}
    found = granted(snapshot)
    wrong = [f"not in docs/azure.md: {item}" for item in sorted(found - wanted)]
    wrong += [f"not granted: {item}" for item in sorted(wanted - found)]
    for item in snapshot.of(ASSIGNMENT):
        if "/resourceGroups/" not in item["id"]:
            wrong.append("a role for the whole subscription")
        elif item["id"].split("/providers/")[0].count("/") == 4 and (
            item["id"].count("/providers/") == 1
        ):
            wrong.append("a role for a whole resource group")
        if item["properties"]["principalType"] != "ServicePrincipal":
            wrong.append("a role for a person")
    federated = snapshot.one(
        "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials"
    )
    trusted = federated["properties"]
    if (
        trusted["issuer"] != "https://token.actions.githubusercontent.com"
        or not re.fullmatch(
            rf"repo:[\w-]+/[\w-]+:environment:{snapshot.environment}", trusted["subject"]
        )
        or "-shipping/" not in federated["id"]
    ):
        wrong.append(f"{trusted['subject']} may ship")
    for role in _own_roles(snapshot):
        for permission in role["properties"]["permissions"]:
            actions = permission["actions"] + permission["dataActions"]
            wrong += [f"{action} in {role['name']}" for action in actions if "*" in action]
    for grant in snapshot.of("Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments"):
        # The SDK reads the account itself, which a grant for the database alone does not allow.
        if grant["properties"]["scope"].split("/")[-2] != "databaseAccounts":
            wrong.append(f"{grant['properties']['scope']} is not the account")
    for role in snapshot.of("Microsoft.DocumentDB/databaseAccounts/sqlRoleDefinitions"):
        for permission in role["properties"]["permissions"]:
            wrong += [action for action in permission["dataActions"] if "*" in action]
    return wrong


def least_compute(snapshot: Snapshot) -> list[str]:
    """The app runs Python 3.12 in the network; production waits for requests in several zones."""
    app = snapshot.one(APP)["properties"]
    config = app["functionAppConfig"]
    wrong = []
    if (config["runtime"]["name"], config["runtime"]["version"]) != ("python", "3.12"):
        wrong.append(f"runtime {config['runtime']}")
    if not app["virtualNetworkSubnetId"].endswith("/subnets/application"):
        wrong.append("outside the network")
    storage = config["deployment"]["storage"]
    if storage["authentication"]["type"] != "UserAssignedIdentity":
        wrong.append("the package is fetched with a key")
    if (
        snapshot.environment in FULL
        and not (snapshot.one("Microsoft.Web/serverfarms")["properties"]["zoneRedundant"])
    ):
        wrong.append("in one zone")
    ready = {
        group["name"]: group["instanceCount"]
        for group in config["scaleAndConcurrency"]["alwaysReady"]
    }
    if snapshot.environment == "production" and ready.get("http", 0) < 2:
        wrong.append("no instance waits for requests")
    scale = config["scaleAndConcurrency"]
    at_once = scale.get("triggers", {}).get("http", {}).get("perInstanceConcurrency", 1)
    if at_once != REQUESTS_PER_INSTANCE[scale["instanceMemoryMB"]]:
        wrong.append(f"{at_once} requests at once in an instance of {scale['instanceMemoryMB']} MB")
    return wrong


def kept_so(snapshot: Snapshot) -> list[str]:
    """Azure refuses what would undo this, and the stores cannot be deleted by mistake."""
    assigned = {
        item["properties"]["policyDefinitionId"].split("/")[-1]
        for item in snapshot.of("Microsoft.Authorization/policyAssignments")
        if item["properties"]["enforcementMode"] == "Default"
    }
    effects = {
        item["name"]: item["properties"]["policyRule"]["then"]["effect"]
        for item in snapshot.of("Microsoft.Authorization/policyDefinitions")
    }
    wanted = {
        "strongroom-no-public-stores": "deny",
        "strongroom-only-our-regions": "deny",
        "strongroom-modern-tls": "deny",
        "strongroom-everything-logged": "auditIfNotExists",
    }
    wrong = [
        f"{name} is not enforced"
        for name, effect in wanted.items()
        if name not in assigned or effects.get(name) != effect
    ]
    denied = next(
        item["properties"]["policyRule"]["if"]
        for item in snapshot.of("Microsoft.Authorization/policyDefinitions")
        if item["name"] == "strongroom-no-public-stores"
    )
    if "Microsoft.Web/sites/publicNetworkAccess" not in texts(denied):
        wrong.append("whoever ships the app could open it to everyone")
    if snapshot.environment in FULL:
        exempt = {
            name
            for item in snapshot.of("Microsoft.Authorization/policyAssignments")
            for name in item["properties"]["parameters"].get("exempt", {}).get("value", [])
        }
        wrong += [f"{name} may be public" for name in sorted(exempt)]
        locked = {
            item["id"].split("/providers/Microsoft.Authorization/locks/")[0]
            for item in snapshot.of("Microsoft.Authorization/locks")
            if item["properties"]["level"] == "CanNotDelete"
        }
        for kind in (
            "Microsoft.Storage/storageAccounts",
            "Microsoft.KeyVault/vaults",
            "Microsoft.DocumentDB/databaseAccounts",
            "Microsoft.ServiceBus/namespaces",
        ):
            wrong += [
                f"{item['name']} can be deleted"
                for item in snapshot.of(kind)
                if item["id"] not in locked
            ]
    return wrong


def alerts(snapshot: Snapshot) -> list[str]:
    """There is an alert for everything that docs/operations.md says to watch; each tells people."""
    text = (DOCS / "operations.md").read_text()
    described = set(re.findall(r"^### `([a-z-]+)`$", text, re.MULTILINE))
    kinds = ("metricAlerts", "scheduledQueryRules", "activityLogAlerts")
    found = {
        item["name"]: item for kind in kinds for item in snapshot.of(f"Microsoft.Insights/{kind}")
    }
    wrong = [f"{name} is not in docs/operations.md" for name in sorted(set(found) - described)]
    # Without a gateway there is none to be unhealthy.
    absent = set() if snapshot.environment in FULL else {"gateway-unhealthy"}
    wrong += [f"no alert {name}" for name in sorted(described - set(found) - absent)]
    if "administration" in found:
        told = set(texts(found["administration"]["properties"]["condition"]))
        wrong += [f"nobody hears of {act}" for act in sorted(ADMINISTRATION - told)]
    people = snapshot.one("Microsoft.Insights/actionGroups")["id"]
    for name, item in found.items():
        if not item["properties"]["enabled"]:
            wrong.append(f"{name} is off")
        if people not in texts(item["properties"]["actions"]):
            wrong.append(f"{name} tells nobody")
    budget = snapshot.one("Microsoft.Consumption/budgets")["properties"]
    if not budget["notifications"]:
        wrong.append("nobody hears of the budget")
    return wrong


def partitions_watched(snapshot: Snapshot) -> list[str]:
    """People hear of a partition while it still takes the commit that deletes something.

    At 20 GB it takes none. Microsoft's page on such an alert advises 14 GB, and says what it rests on:
    https://learn.microsoft.com/azure/cosmos-db/how-to-alert-on-logical-partition-key-storage-size
    """
    found = [
        item["properties"]
        for item in snapshot.of("Microsoft.Insights/scheduledQueryRules")
        if item["name"] == "partition-large"
    ]
    if not found:
        return ["nobody watches the partitions"]
    (rule,) = found
    (query,) = (condition["query"] for condition in rule["criteria"]["allOf"])
    wrong = []
    limit = re.fullmatch(r"CDBPartitionKeyStatistics \| where SizeKb > (\d+)", query)
    if limit is None or int(limit[1]) > 14_000_000:
        wrong.append("people hear of a partition when it is too late")
    if rule["evaluationFrequency"] != "P1D" or rule["severity"] > 1:
        wrong.append("people hear of a partition too slowly")
    (settings,) = (
        item["properties"]
        for item in snapshot.of("Microsoft.Insights/diagnosticSettings")
        if "/databaseAccounts/" in item["id"]
    )
    # Without it the sizes go into another table.
    if settings.get("logAnalyticsDestinationType") != "Dedicated":
        wrong.append("the table that the alert looks into does not exist")
    if {"categoryGroup": "allLogs", "enabled": True} not in settings["logs"]:
        wrong.append("the sizes of partitions are not logged")
    return wrong


def tells_where_it_is(snapshot: Snapshot) -> list[str]:
    """Names, tags and the metadata of every container tell the environment."""
    short = {"development": "dev", "staging": "stg", "production": "prd"}[snapshot.environment]
    wrong = []
    for item in snapshot.resources:
        if "tags" in item and item["tags"].get("environment") != snapshot.environment:
            wrong.append(f"{item['name']} is tagged {item['tags'].get('environment')}")
    for kind in (
        "Microsoft.Resources/resourceGroups",
        "Microsoft.Storage/storageAccounts",
        "Microsoft.KeyVault/vaults",
        "Microsoft.DocumentDB/databaseAccounts",
        "Microsoft.ServiceBus/namespaces",
        APP,
    ):
        for item in snapshot.of(kind):
            if short not in item["name"]:
                wrong.append(f"{item['name']} does not say where it is")
            if "tags" not in item:
                wrong.append(f"{item['name']} has no tags")
    for container in snapshot.of("Microsoft.Storage/storageAccounts/blobServices/containers"):
        if container["properties"].get("metadata", {}).get("environment") != snapshot.environment:
            wrong.append(f"container {container['name']} does not say where it is")
    return wrong


def nothing_shared(one: Snapshot, other: Snapshot) -> list[str]:
    """Two environments have no subscription, no resource, no name and no address in common."""
    wrong = []
    for first, second in ((one, other), (other, one)):
        there = second.of("Microsoft.Resources/resourceGroups")[0]["id"].split("/")[2]
        if any(there in text for item in first.resources for text in texts(item)):
            wrong.append(f"{first.environment} refers to {second.environment}")
        names = {
            item["name"]
            for item in second.resources
            if item["type"]
            in (
                "Microsoft.Storage/storageAccounts",
                "Microsoft.KeyVault/vaults",
                "Microsoft.DocumentDB/databaseAccounts",
                "Microsoft.ServiceBus/namespaces",
                APP,
            )
        }
        for item in first.resources:
            found = {name for name in names for text in texts(item) if name in text}
            wrong += [f"{item['name']} of {first.environment} uses {name}" for name in found]
    spaces = [
        [
            ip_network(prefix)
            for network in snapshot.of("Microsoft.Network/virtualNetworks")
            for prefix in network["properties"]["addressSpace"]["addressPrefixes"]
        ]
        for snapshot in (one, other)
    ]
    wrong += [f"both have {a}" for a in spaces[0] for b in spaces[1] if a.overlaps(b)]
    return wrong
