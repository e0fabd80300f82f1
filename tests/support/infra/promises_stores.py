"""What the infrastructure promises of the stores. Each check lists what breaks its promise."""

from __future__ import annotations

import json

from tests.support.infra.snapshots import FULL, INFRA, Resource, Snapshot, texts

ACCOUNT = "Microsoft.Storage/storageAccounts"
CONTAINER = "Microsoft.Storage/storageAccounts/blobServices/containers"
KEY_VAULT = "Microsoft.KeyVault/vaults"
RECORDS = "Microsoft.DocumentDB/databaseAccounts"
BUS = "Microsoft.ServiceBus/namespaces"
NEW = "(replay_to IS NULL AND type IN ("
APP = "Microsoft.Web/sites"
ENDPOINT = "Microsoft.Network/privateEndpoints"

PUBLIC_BUS = {"development"}
"""Service Bus Standard has no private endpoints; Premium would cost more than all the rest."""


def purpose(account: Resource) -> str:
    """What a storage account is for: the part of its name between the environment and the suffix."""
    return str(account["name"])[len("stsrprd") : -len("suffix")]


def _account(snapshot: Snapshot, wanted: str) -> Resource:
    (found,) = (item for item in snapshot.of(ACCOUNT) if purpose(item) == wanted)
    return found


def _blobs(snapshot: Snapshot, account: Resource) -> Resource:
    """The settings of an account's blob service."""
    (found,) = snapshot.under(account, f"{ACCOUNT}/blobServices")
    properties: Resource = found["properties"]
    return properties


def _stores(snapshot: Snapshot) -> list[Resource]:
    kinds = [ACCOUNT, KEY_VAULT, RECORDS]
    kinds += [] if snapshot.environment in PUBLIC_BUS else [BUS]
    return [store for kind in kinds for store in snapshot.of(kind)]


def private(snapshot: Snapshot) -> list[str]:
    """No store answers from the internet; each that the app uses is behind a private endpoint."""
    behind = {
        connection["properties"]["privateLinkServiceId"]
        for endpoint in snapshot.of(ENDPOINT)
        for connection in endpoint["properties"]["privateLinkServiceConnections"]
    }
    wrong = []
    for store in _stores(snapshot):
        properties = store["properties"]
        if properties.get("publicNetworkAccess") != "Disabled":
            wrong.append(f"{store['name']} is public")
        if store["type"] in (ACCOUNT, KEY_VAULT) and (
            properties["networkAcls"]["defaultAction"] != "Deny"
        ):
            wrong.append(f"{store['name']} lets in by default")
        # The platform reaches these two by itself: the archive of logs, and keys in development.
        reached_by_platform = "archive" in store["name"] or (
            "plat" in store["name"] and snapshot.environment not in FULL
        )
        if store["id"] not in behind and not reached_by_platform:
            wrong.append(f"{store['name']} has no private endpoint")
    for container in snapshot.of(CONTAINER):
        if container["properties"]["publicAccess"] != "None":
            wrong.append(f"container {container['name']} is public")
    for account in snapshot.of(ACCOUNT):
        if account["properties"]["allowBlobPublicAccess"]:
            wrong.append(f"{account['name']} allows public containers")
    return wrong


def standby_reaches_the_data(snapshot: Snapshot) -> list[str]:
    """The second region has endpoints of its own for everything that outlives the first."""
    if snapshot.environment not in FULL:
        return []
    standby = _account(snapshot, "backup")["location"]
    reached = {
        endpoint["properties"]["privateLinkServiceConnections"][0]["name"]
        for endpoint in snapshot.of(ENDPOINT)
        if endpoint["location"] == standby
    }
    needed = {
        *("primary", "replica", "backup", "backup-keys"),
        *("keys", "platform", "records", "bus", "monitor"),
    }
    return sorted(f"no endpoint for {name} in {standby}" for name in needed - reached)


def without_keys(snapshot: Snapshot) -> list[str]:
    """Nothing can be opened with an account key, a connection string or a publishing password."""
    wrong = [
        f"{account['name']} allows account keys"
        for account in snapshot.of(ACCOUNT)
        if account["properties"]["allowSharedKeyAccess"] is not False
    ]
    for kind, field in (
        (RECORDS, "disableLocalAuth"),
        (RECORDS, "disableKeyBasedMetadataWriteAccess"),
        (BUS, "disableLocalAuth"),
        (KEY_VAULT, "enableRbacAuthorization"),
        ("Microsoft.Insights/components", "DisableLocalAuth"),
    ):
        wrong += [
            f"{item['name']} has {field} off"
            for item in snapshot.of(kind)
            if item["properties"].get(field) is not True
        ]
    workspace = snapshot.one("Microsoft.OperationalInsights/workspaces")
    if not workspace["properties"]["features"]["disableLocalAuth"]:
        wrong.append("the workspace takes a key")
    policies = snapshot.of("Microsoft.Web/sites/basicPublishingCredentialsPolicies")
    closed = {item["name"].split("/")[-1] for item in policies if not item["properties"]["allow"]}
    wrong += [f"publishing password for {site}" for site in {"ftp", "scm"} - closed]
    for resource in snapshot.resources:
        for text in texts(resource):
            if any(word in text for word in ("listKeys(", "AccountKey=", "SharedAccessKey")):
                wrong.append(f"{resource['name']} holds a key")
    return wrong


def modern_tls(snapshot: Snapshot) -> list[str]:
    """TLS 1.2 is the least that anything speaks."""
    wrong = []
    for account in snapshot.of(ACCOUNT):
        if account["properties"]["minimumTlsVersion"] not in ("TLS1_2", "TLS1_3"):
            wrong.append(f"{account['name']} speaks old TLS")
        if not account["properties"]["supportsHttpsTrafficOnly"]:
            wrong.append(f"{account['name']} speaks HTTP")
    wrong += [
        f"{item['name']} speaks old TLS"
        for item in snapshot.of(RECORDS)
        if item["properties"]["minimalTlsVersion"] != "Tls12"
    ]
    wrong += [
        f"{item['name']} speaks old TLS"
        for item in snapshot.of(BUS)
        if item["properties"]["minimumTlsVersion"] not in ("1.2", "1.3")
    ]
    app = snapshot.one(APP)["properties"]
    site = app["siteConfig"]
    if not app["httpsOnly"]:
        wrong.append("the app speaks HTTP")
    if not site["http20Enabled"]:
        wrong.append("the app does not speak HTTP/2")
    if site["ftpsState"] != "Disabled":
        wrong.append("the app speaks FTP")
    wrong += [
        f"the app has {field} {site[field]}"
        for field in ("minTlsVersion", "scmMinTlsVersion")
        if site[field] not in ("1.2", "1.3")
    ]
    return wrong


def our_own_encryption(snapshot: Snapshot) -> list[str]:
    """Stores are encrypted under our key, which rotates, in a vault that nobody can purge."""
    wrong = []
    for account in snapshot.of(ACCOUNT):
        encryption = account["properties"]["encryption"]
        if encryption["keySource"] != "Microsoft.Keyvault":
            wrong.append(f"{account['name']} is encrypted under a key of the platform")
        if not encryption["requireInfrastructureEncryption"]:
            wrong.append(f"{account['name']} is encrypted once")
    if not snapshot.one(RECORDS)["properties"].get("keyVaultKeyUri", "").endswith("/keys/records"):
        wrong.append("records are encrypted under a key of the platform")
    bus = snapshot.one(BUS)["properties"]
    if snapshot.environment in FULL and not bus.get("encryption", {}).get("keyVaultProperties"):
        wrong.append("the bus is encrypted under a key of the platform")
    for vault in snapshot.of(KEY_VAULT):
        properties = vault["properties"]
        if properties["sku"]["name"] != "premium":
            wrong.append(f"{vault['name']} has no HSM")
        if not properties.get("enablePurgeProtection"):
            wrong.append(f"{vault['name']} can be purged")
    for key in snapshot.of("Microsoft.KeyVault/vaults/keys"):
        actions = {
            action["action"]["type"]
            for action in key["properties"]["rotationPolicy"]["lifetimeActions"]
        }
        if "rotate" not in actions:
            wrong.append(f"{key['name']} does not rotate")
        if key["properties"]["kty"] != "RSA-HSM":
            wrong.append(f"{key['name']} is not in the HSM")
    return wrong


def partitioned(snapshot: Snapshot) -> list[str]:
    """Records lie in small partitions, which the app finds and asks for by name."""
    containers = snapshot.of(f"{RECORDS}/sqlDatabases/containers")
    wrong = [] if containers else ["there is no container of records"]
    for container in containers:
        resource = container["properties"]["resource"]
        if resource["partitionKey"]["paths"] != ["/partition"]:
            wrong.append(f"{resource['id']} is not partitioned by /partition")
        indexed = {each["path"] for each in resource["indexingPolicy"]["includedPaths"]}
        if not {"/partition/?", "/place/?", "/index/*", "/expires_at/?"} <= indexed:
            wrong.append(f"{resource['id']} does not index what queries ask for")
    return wrong


def in_two_regions(snapshot: Snapshot) -> list[str]:
    """The loss of a region loses no document, no record and, except in development, no event."""
    wrong = []
    for account in snapshot.of(ACCOUNT):
        if account["sku"]["name"] not in ("Standard_GZRS", "Standard_RAGZRS"):
            wrong.append(f"{account['name']} is in one region")
    primary = _account(snapshot, "primary")["location"]
    wrong += [
        f"the {other} is where the primary store is"
        for other in ("replica", "backup", "backupkeys")
        if _account(snapshot, other)["location"] == primary
    ]
    records = snapshot.one(RECORDS)["properties"]
    if len({item["locationName"] for item in records["locations"]}) < 2:
        wrong.append("records are in one region")
    for item in snapshot.of(f"{ACCOUNT}/blobServices"):
        # Azure refuses a planned fail-over, the one without loss, where there is a change feed.
        if item["properties"].get("changeFeed", {}).get("enabled"):
            wrong.append(f"{item['id'].split('/')[-3]} cannot change places with its copy")
    if not records["enableAutomaticFailover"]:
        wrong.append("records do not fail over")
    if records["consistencyPolicy"].get("maxIntervalInSeconds", 9999) > 300:
        wrong.append("the second copy of records is more than five minutes behind")
    if snapshot.environment in FULL:
        if not all(item["isZoneRedundant"] for item in records["locations"]):
            wrong.append("records are in one zone")
        bus = snapshot.one(BUS)["properties"]
        roles = {
            item["roleType"] for item in bus.get("geoDataReplication", {}).get("locations", [])
        }
        if roles != {"Primary", "Secondary"}:
            wrong.append("events are in one region")
    return wrong


def backups_cannot_be_changed(snapshot: Snapshot) -> list[str]:
    """What is written to the backups and to the archive of the activity log stays as it is.

    In the backups each object has a date of its own, which goes before the default that is looked at here.
    """
    wrong = []
    for account in (_account(snapshot, "backup"), _account(snapshot, "archive")):
        immutable = account["properties"].get("immutableStorageWithVersioning", {})
        policy = immutable.get("immutabilityPolicy", {})
        least = {"development": 1, "staging": 7, "production": 35}[snapshot.environment]
        if not immutable.get("enabled") or policy.get("state") not in ("Unlocked", "Locked"):
            wrong.append(f"{account['name']} can be changed")
        elif policy["immutabilityPeriodSinceCreationInDays"] < least:
            wrong.append(f"{account['name']} can be changed too soon")
        if not _blobs(snapshot, account)["isVersioningEnabled"]:
            wrong.append(f"{account['name']} keeps no versions")
    records = snapshot.one(RECORDS)["properties"]["backupPolicy"]
    if records["type"] != "Continuous":
        wrong.append("records cannot be restored to a moment")
    return wrong


def nobody_shortens_retention(snapshot: Snapshot) -> list[str]:
    """At run time only the app gets to backups and audit logs; it can date objects, not end a locked date.

    Azure has one right for giving a date, moving it later and, while it is not locked, taking it away;
    ``AzureWriteOnce`` locks each date with the object's creation. What else could end the retention of an
    object, or of all at once, nobody has.
    """
    allowed = {
        f"Microsoft.Storage/storageAccounts/blobServices/{right}"
        for right in (
            "containers/read",
            "containers/blobs/read",
            "containers/blobs/write",
            "containers/blobs/delete",
            "containers/blobs/deleteBlobVersion/action",
            "containers/blobs/immutableStorage/runAsSuperUser/action",
        )
    }
    account = _account(snapshot, "backup")
    grants = snapshot.under(account, "Microsoft.Authorization/roleAssignments")
    if sorted(grant["id"].split("/")[-5] for grant in grants) != ["audit", "backup"]:
        return [f"{len(grants)} roles at the backups and audit logs, and there are two containers"]
    wrong = []
    for grant in grants:
        properties = grant["properties"]
        if not properties["principalId"].endswith("-app"):
            wrong.append(f"{properties['principalId']} gets to the backups")
        given = _rights(snapshot, properties["roleDefinitionId"])
        wrong += [f"the app may do {right}" for right in sorted(given - allowed)]
        wrong += [f"the app cannot do {right}" for right in sorted(allowed - given)]
    return wrong


def _rights(snapshot: Snapshot, role: str) -> set[str]:
    """All actions of one of our own roles; a built-in role counts as one right of its name."""
    name = role.split("/")[-1]
    for own in snapshot.of("Microsoft.Authorization/roleDefinitions"):
        if own["name"] == name:
            (permission,) = own["properties"]["permissions"]
            return {*permission["actions"], *permission["dataActions"]}
    return {name}


def key_store_forgets(snapshot: Snapshot) -> list[str]:
    """What is deleted from the keys of the backups is gone: nothing keeps it, and no one brings it back."""
    account = _account(snapshot, "backupkeys")
    blobs = _blobs(snapshot, account)
    wrong = [
        f"the key store has {field}"
        for field in (
            "deleteRetentionPolicy",
            "containerDeleteRetentionPolicy",
            "changeFeed",
            "restorePolicy",
        )
        if blobs.get(field, {"enabled": False})["enabled"]
    ]
    if blobs["isVersioningEnabled"]:
        wrong.append("the key store keeps versions")
    # What cannot be deleted cannot be forgotten.
    if account["properties"].get("immutableStorageWithVersioning"):
        wrong.append("the key store keeps what it was told to forget")
    if snapshot.under(account, f"{ACCOUNT}/objectReplicationPolicies"):
        wrong.append("the key store is copied to where nobody deletes")
    containers = [item["name"].split("/")[-1] for item in snapshot.under(account, CONTAINER)]
    if containers != ["backup-keys"]:
        wrong.append(f"the key store holds {containers}")
    for grant in snapshot.under(account, "Microsoft.Authorization/roleAssignments"):
        rights = _rights(snapshot, grant["properties"]["roleDefinitionId"])
        if not any(right.endswith("/blobs/delete") for right in rights):
            wrong.append("nobody can make the key store forget")
        wrong += [
            f"the key store may be changed as a whole: {right}"
            for right in sorted(rights)
            if right.endswith(("containers/write", "containers/delete")) or "/" not in right
        ]
    return wrong


def staging_forgets(snapshot: Snapshot) -> list[str]:
    """Contents that wait to be sealed are gone two days later, with no copy to bring back."""
    (account,) = (item for item in snapshot.of(ACCOUNT) if "stage" in item["name"])
    wrong = []
    blobs = _blobs(snapshot, account)
    if blobs["isVersioningEnabled"]:
        wrong.append("staging keeps versions")
    if blobs["deleteRetentionPolicy"]["enabled"]:
        wrong.append("staging keeps what is deleted")
    rules = [
        rule["definition"]["actions"].get("baseBlob", {}).get("delete", {})
        for policy in snapshot.under(
            account, "Microsoft.Storage/storageAccounts/managementPolicies"
        )
        for rule in policy["properties"]["policy"]["rules"]
        if rule["enabled"]
    ]
    if not any(rule.get("daysAfterCreationGreaterThan", 99) <= 2 for rule in rules):
        wrong.append("staging keeps what was left")
    return wrong


def topology(snapshot: Snapshot) -> list[str]:
    """Topics, subscriptions, filters and sessions are those of topology.json."""
    wanted = json.loads((INFRA / "topology.json").read_text())["topics"]
    found = []
    for topic in snapshot.of(f"{BUS}/topics"):
        properties = topic["properties"]
        window = properties["duplicateDetectionHistoryTimeWindow"]
        found.append(
            {
                "name": topic["name"].split("/")[-1],
                "duplicateDetectionMinutes": int(window.removeprefix("PT").removesuffix("M"))
                if properties["requiresDuplicateDetection"]
                else 0,
                "subscriptions": [
                    _subscription(snapshot, item)
                    for item in snapshot.under(topic, f"{BUS}/topics/subscriptions")
                ],
            }
        )
    return [] if found == wanted else [f"deployed: {found}; topology.json: {wanted}"]


def _subscription(snapshot: Snapshot, subscription: Resource) -> dict[str, object]:
    properties = subscription["properties"]
    rules = snapshot.under(subscription, f"{BUS}/topics/subscriptions/rules")
    expressions = [rule["properties"]["sqlFilter"]["sqlExpression"] for rule in rules]
    name = subscription["name"].split("/")[-1]
    replayed = f")) OR replay_to = '{name}'"
    types = [
        part
        for expression in expressions
        for quoted in expression.removeprefix(NEW).removesuffix(replayed).split(", ")
        if (part := quoted.strip("'"))
    ]
    return {
        "name": name,
        "types": types,
        "sessions": properties["requiresSession"],
        "lockSeconds": int(properties["lockDuration"].removeprefix("PT").removesuffix("S")),
        "maxDeliveryCount": properties["maxDeliveryCount"],
    }
