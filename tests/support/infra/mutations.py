"""Each way to break a promise, one a line: what the check of that promise must notice."""

# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.infra import promises_network, promises_operation, promises_stores
from tests.support.infra.snapshots import Snapshot

Promise = Callable[[Snapshot], list[str]]

STORAGE = "Microsoft.Storage/storageAccounts"
VAULT = "Microsoft.KeyVault/vaults"
RECORDS = "Microsoft.DocumentDB/databaseAccounts"
BUS = "Microsoft.ServiceBus/namespaces"
SITE = "Microsoft.Web/sites"
ANY_ORIGIN = {"allowedOrigins": ["*"], "allowedMethods": ["PUT"]}
GATEWAY = "Microsoft.Network/applicationGateways"
WAF = "Microsoft.Network/ApplicationGatewayWebApplicationFirewallPolicies"
ROLE = "Microsoft.Authorization/roleAssignments"
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
BLOB_OWNER = "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"
BLOB_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
BLOB_RIGHTS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"


def put(kind: str, name: str, path: str, value: Any) -> Callable[[Snapshot], None]:
    """A mutation that sets one value; a path's numbers are places in lists."""

    def mutate(snapshot: Snapshot) -> None:
        found: Any = next(item for item in snapshot.of(kind) if name in item["id"])
        *way, last = path.split(".")
        for step in way:
            found = found[int(step) if step.isdigit() else step]
        if isinstance(found, list):
            found[int(last)] = value
        else:
            found[last] = value

    return mutate


def drop(kind: str, name: str = "") -> Callable[[Snapshot], None]:
    """A mutation that takes every resource of a type away whose id contains a text."""

    def mutate(snapshot: Snapshot) -> None:
        kept = [
            item for item in snapshot.resources if item["type"] != kind or name not in item["id"]
        ]
        assert len(kept) < len(snapshot.resources)
        snapshot.resources = kept

    return mutate


def setting(name: str, value: str | None) -> Callable[[Snapshot], None]:
    """A mutation that gives the app a setting, or takes one away."""

    def mutate(snapshot: Snapshot) -> None:
        site = snapshot.one(SITE)["properties"]["siteConfig"]
        kept = [item for item in site["appSettings"] if item["name"] != name]
        site["appSettings"] = kept + ([] if value is None else [{"name": name, "value": value}])

    return mutate


def _another_address(snapshot: Snapshot) -> None:
    kind = "Microsoft.Network/publicIPAddresses"
    first = snapshot.of(kind)[0]
    snapshot.resources.append({**first, "id": first["id"] + "-2", "name": first["name"] + "-2"})


def _a_role_of_a_group(snapshot: Snapshot) -> None:
    first = snapshot.of(ROLE)[0]
    group = "/".join(first["id"].split("/")[:5])
    snapshot.resources.append(
        {**first, "id": f"{group}/providers/Microsoft.KeyVault/vaults/kv-app-/providers/{ROLE}/x"}
        | {"properties": first["properties"] | {"roleDefinitionId": f"/x/{OWNER}"}}
    )


def backup_right(right: str | None) -> Callable[[Snapshot], None]:
    """A mutation that gives the app one more right at its backups; None: takes one away."""

    def mutate(snapshot: Snapshot) -> None:
        (role,) = (
            item["properties"]
            for item in snapshot.of("Microsoft.Authorization/roleDefinitions")
            if "backup keeper" in item["properties"]["roleName"]
        )
        given = role["permissions"][0]["dataActions"]
        if right is None:
            given.pop()
        else:
            given.append(right)

    return mutate


def _a_role_at_the_backup_account(snapshot: Snapshot) -> None:
    (first,) = (item for item in snapshot.of(ROLE) if "containers/backup/" in item["id"])
    account = first["id"].split("/blobServices/")[0]
    snapshot.resources.append({**first, "id": f"{account}/providers/{ROLE}/x"})


def _unthought_type(snapshot: Snapshot) -> None:
    group = snapshot.of("Microsoft.Resources/resourceGroups")[0]["id"]
    kind = "Microsoft.Cache/redis"
    snapshot.resources.append({"id": f"{group}/providers/{kind}/x", "type": kind, "name": "x"})


ACCESS = "properties.publicNetworkAccess"
SETTINGS = "properties.backendHttpSettingsCollection.0.properties.protocol"

MUTATIONS: dict[str, list[tuple[Promise, Callable[[Snapshot], None]]]] = {
    "development": [
        (promises_stores.private, put(STORAGE, "primary", ACCESS, "Enabled")),
        (promises_network.one_way_in, put(SITE, "func", "properties.siteConfig.ipSecurityRestrictionsDefaultAction", "Allow")),
        (promises_stores.in_two_regions, put(STORAGE, "primary", "sku.name", "Standard_LRS")),
        (promises_operation.app_settings, setting("STRONGROOM_ENVIRONMENT", "production")),
        (promises_network.app_reaches_its_services, put("Microsoft.Network/networkSecurityGroups", "-application", "properties.securityRules.2.properties.destinationPortRange", "443")),
        (promises_operation.tells_where_it_is, put(STORAGE, "primary", "tags.environment", "production")),
    ],
    "staging": [
        (promises_network.one_way_in, _another_address),
        (promises_stores.private, put(BUS, "", ACCESS, "Enabled")),
    ],
    "production": [
        (promises_stores.private, put(STORAGE, "primary", ACCESS, "Enabled")),
        (promises_stores.private, put(STORAGE, "host", "properties.networkAcls.defaultAction", "Allow")),
        (promises_stores.private, put(STORAGE, "host", "properties.allowBlobPublicAccess", True)),
        (promises_stores.private, put(VAULT, "-app-", ACCESS, "Enabled")),
        (promises_stores.private, put(RECORDS, "", ACCESS, "Enabled")),
        (promises_stores.private, put(BUS, "", ACCESS, "Enabled")),
        (promises_stores.private, drop("Microsoft.Network/privateEndpoints", "-records")),
        (promises_stores.private, put(f"{STORAGE}/blobServices/containers", "primary", "properties.publicAccess", "Blob")),
        (promises_stores.standby_reaches_the_data, drop("Microsoft.Network/privateEndpoints", "-neu-keys")),
        (promises_stores.standby_reaches_the_data, drop("Microsoft.Network/privateEndpoints", "-neu-backup-keys")),
        (promises_stores.without_keys, put(STORAGE, "backup", "properties.allowSharedKeyAccess", True)),
        (promises_stores.without_keys, put(RECORDS, "", "properties.disableLocalAuth", False)),
        (promises_stores.without_keys, put(BUS, "", "properties.disableLocalAuth", False)),
        (promises_stores.without_keys, put(VAULT, "-app-", "properties.enableRbacAuthorization", False)),
        (promises_stores.without_keys, put("Microsoft.Insights/components", "", "properties.DisableLocalAuth", False)),
        (promises_stores.without_keys, put("Microsoft.OperationalInsights/workspaces", "", "properties.features.disableLocalAuth", False)),
        (promises_stores.without_keys, put("Microsoft.Web/sites/basicPublishingCredentialsPolicies", "scm", "properties.allow", True)),
        (promises_stores.without_keys, setting("STRONGROOM_BUS", "Endpoint=sb://x;SharedAccessKey=y")),
        (promises_stores.modern_tls, put(STORAGE, "primary", "properties.minimumTlsVersion", "TLS1_1")),
        (promises_stores.modern_tls, put(STORAGE, "primary", "properties.supportsHttpsTrafficOnly", False)),
        (promises_stores.modern_tls, put(RECORDS, "", "properties.minimalTlsVersion", "Tls11")),
        (promises_stores.modern_tls, put(BUS, "", "properties.minimumTlsVersion", "1.0")),
        (promises_stores.modern_tls, put(SITE, "", "properties.httpsOnly", False)),
        (promises_stores.modern_tls, put(SITE, "", "properties.siteConfig.http20Enabled", False)),
        (promises_stores.modern_tls, put(SITE, "", "properties.siteConfig.ftpsState", "AllAllowed")),
        (promises_stores.modern_tls, put(SITE, "", "properties.siteConfig.minTlsVersion", "1.1")),
        (promises_stores.our_own_encryption, put(STORAGE, "primary", "properties.encryption.keySource", "Microsoft.Storage")),
        (promises_stores.our_own_encryption, put(STORAGE, "primary", "properties.encryption.requireInfrastructureEncryption", False)),
        (promises_stores.our_own_encryption, put(RECORDS, "", "properties.keyVaultKeyUri", "")),
        (promises_stores.our_own_encryption, put(BUS, "", "properties.encryption", {})),
        (promises_stores.our_own_encryption, put(VAULT, "-app-", "properties.enablePurgeProtection", False)),
        (promises_stores.our_own_encryption, put(VAULT, "-plat-", "properties.sku.name", "standard")),
        (promises_stores.our_own_encryption, put(f"{VAULT}/keys", "bus", "properties.rotationPolicy.lifetimeActions", [])),
        (promises_stores.our_own_encryption, put(f"{VAULT}/keys", "bus", "properties.kty", "RSA")),
        (promises_stores.partitioned, put(f"{RECORDS}/sqlDatabases/containers", "records", "properties.resource.partitionKey.paths", ["/tenant"])),
        (promises_stores.partitioned, put(f"{RECORDS}/sqlDatabases/containers", "directory", "properties.resource.indexingPolicy.includedPaths", [{"path": "/place/?"}])),
        (promises_stores.in_two_regions, put(STORAGE, "primary", "sku.name", "Standard_ZRS")),
        (promises_stores.in_two_regions, put(STORAGE, "backup", "location", "westeurope")),
        (promises_stores.in_two_regions, put(STORAGE, "backupkeys", "location", "westeurope")),
        (promises_stores.in_two_regions, put(f"{STORAGE}/blobServices", "primary", "properties.changeFeed", {"enabled": True})),
        (promises_stores.in_two_regions, put(STORAGE, "replica", "location", "westeurope")),
        (promises_stores.in_two_regions, put(RECORDS, "", "properties.locations.1.locationName", "westeurope")),
        (promises_stores.in_two_regions, put(RECORDS, "", "properties.locations.0.isZoneRedundant", False)),
        (promises_stores.in_two_regions, put(RECORDS, "", "properties.enableAutomaticFailover", False)),
        (promises_stores.in_two_regions, put(RECORDS, "", "properties.consistencyPolicy", {"defaultConsistencyLevel": "Eventual"})),
        (promises_stores.in_two_regions, put(BUS, "", "properties.geoDataReplication", {})),
        (promises_stores.backups_cannot_be_changed, put(STORAGE, "backup", "properties.immutableStorageWithVersioning", {})),
        (promises_stores.backups_cannot_be_changed, put(STORAGE, "archive", "properties.immutableStorageWithVersioning.immutabilityPolicy.state", "Disabled")),
        (promises_stores.backups_cannot_be_changed, put(STORAGE, "backup", "properties.immutableStorageWithVersioning.immutabilityPolicy.immutabilityPeriodSinceCreationInDays", 1)),
        (promises_stores.backups_cannot_be_changed, put(f"{STORAGE}/blobServices", "backup", "properties.isVersioningEnabled", False)),
        (promises_stores.backups_cannot_be_changed, put(RECORDS, "", "properties.backupPolicy.type", "Periodic")),
        (promises_stores.nobody_shortens_retention, drop(ROLE, "containers/backup/")),
        (promises_stores.nobody_shortens_retention, put(ROLE, "containers/backup/", "properties.roleDefinitionId", f"/x/{BLOB_OWNER}")),
        (promises_stores.nobody_shortens_retention, put(ROLE, "containers/backup/", "properties.principalId", "id-strongroom-prd-shipping")),
        (promises_stores.nobody_shortens_retention, _a_role_at_the_backup_account),
        (promises_stores.nobody_shortens_retention, backup_right(f"{BLOB_RIGHTS}/runAsSuperUser/action")),
        (promises_stores.nobody_shortens_retention, backup_right(f"{BLOB_RIGHTS}/permanentDelete/action")),
        (promises_stores.nobody_shortens_retention, backup_right("Microsoft.Storage/storageAccounts/blobServices/containers/write")),
        (promises_stores.nobody_shortens_retention, backup_right("Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/write")),
        (promises_stores.nobody_shortens_retention, backup_right(None)),
        (promises_stores.key_store_forgets, put(f"{STORAGE}/blobServices", "backupkeys", "properties.isVersioningEnabled", True)),
        (promises_stores.key_store_forgets, put(f"{STORAGE}/blobServices", "backupkeys", "properties.deleteRetentionPolicy", {"enabled": True, "days": 7})),
        (promises_stores.key_store_forgets, put(f"{STORAGE}/blobServices", "backupkeys", "properties.containerDeleteRetentionPolicy", {"enabled": True, "days": 7})),
        (promises_stores.key_store_forgets, put(f"{STORAGE}/blobServices", "backupkeys", "properties.changeFeed", {"enabled": True})),
        (promises_stores.key_store_forgets, put(f"{STORAGE}/blobServices", "backupkeys", "properties.restorePolicy", {"enabled": True, "days": 6})),
        (promises_stores.key_store_forgets, put(STORAGE, "backupkeys", "properties.immutableStorageWithVersioning", {"enabled": True})),
        (promises_stores.key_store_forgets, put(f"{STORAGE}/blobServices/containers", "backupkeys", "name", "stsrprdbackupkeys/default/backup")),
        (promises_stores.key_store_forgets, put(ROLE, "containers/backup-keys", "properties.roleDefinitionId", f"/x/{BLOB_CONTRIBUTOR}")),
        (promises_stores.staging_forgets, drop(f"{STORAGE}/managementPolicies", "stage")),
        (promises_stores.staging_forgets, put(f"{STORAGE}/blobServices", "stage", "properties.isVersioningEnabled", True)),
        (promises_stores.staging_forgets, put(f"{STORAGE}/blobServices", "stage", "properties.deleteRetentionPolicy.enabled", True)),
        (promises_stores.topology, drop(f"{BUS}/topics/subscriptions", "/audit")),
        (promises_stores.topology, put(f"{BUS}/topics/subscriptions", "/audit", "properties.requiresSession", False)),
        (promises_stores.topology, put(f"{BUS}/topics/subscriptions", "/audit", "properties.maxDeliveryCount", 1)),
        (promises_stores.topology, put(f"{BUS}/topics/subscriptions/rules", "/encryption", "properties.sqlFilter.sqlExpression", "1=1")),
        (promises_stores.topology, put(f"{BUS}/topics", "events", "properties.requiresDuplicateDetection", False)),
        (promises_network.one_way_in, _another_address),
        (promises_network.one_way_in, put(SITE, "", ACCESS, "Enabled")),
        (promises_network.one_way_in, put("Microsoft.Network/azureFirewalls", "", "properties.natRuleCollections", [{}])),
        (promises_network.one_way_in, put("Microsoft.Network/firewallPolicies/ruleCollectionGroups", "", "properties.ruleCollections.0.ruleCollectionType", "FirewallPolicyNatRuleCollection")),
        (promises_network.edge_tls, put(GATEWAY, "", "properties.sslPolicy.minProtocolVersion", "TLSv1_1")),
        (promises_network.edge_tls, put(GATEWAY, "", "properties.sslPolicy.cipherSuites.0", "TLS_RSA_WITH_AES_128_CBC_SHA")),
        (promises_network.edge_tls, put(GATEWAY, "", "properties.httpListeners.0.properties.protocol", "Http")),
        (promises_network.edge_tls, put(GATEWAY, "", "properties.httpListeners.2.properties.protocol", "Https")),
        (promises_network.edge_tls, put(GATEWAY, "", "properties.httpListeners.2.properties.hostName", "uploads.strongroom.example")),
        (promises_network.edge_tls, put(GATEWAY, "", "properties.redirectConfigurations.0.properties.targetListener.id", "/httpListeners/uploads")),
        (promises_network.edge_tls, put(GATEWAY, "", "properties.rewriteRuleSets", [])),
        (promises_network.edge_tls, put(GATEWAY, "", SETTINGS, "Http")),
        (promises_network.edge_tls, put(GATEWAY, "", "properties.sslCertificates.0.properties", {"data": "x"})),
        (promises_network.web_firewall, put(WAF, "-api", "properties.policySettings.mode", "Detection")),
        (promises_network.web_firewall, put(WAF, "-uploads", "properties.customRules.0.name", "other")),
        (promises_network.web_firewall, put(WAF, "-contents", "properties.customRules.0.action", "Log")),
        (promises_network.web_firewall, put(WAF, "-contents", "properties.managedRules.managedRuleSets", [])),
        (promises_network.web_firewall, put(WAF, "-api", "properties.customRules.2.matchConditions.1.matchValues", ["0.0.0.0/0"])),
        (promises_network.web_firewall, put(WAF, "-api", "properties.customRules.4.ruleType", "MatchRule")),
        (promises_network.web_firewall, put(WAF, "-api", "properties.customRules.1.name", "other")),
        (promises_network.web_firewall, put(WAF, "-api", "properties.policySettings.requestBodyCheck", False)),
        (promises_network.web_firewall, put(WAF, "-api", "properties.policySettings.logScrubbing.state", "Disabled")),
        (promises_network.web_firewall, put(WAF, "-contents", "properties.managedRules.managedRuleSets.0.ruleGroupOverrides", [])),
        (promises_network.web_firewall, put(WAF, "-uploads", "properties.managedRules.managedRuleSets.0.ruleGroupOverrides.0.rules.0.ruleId", "911100")),
        (promises_network.web_firewall, put(GATEWAY, "", "properties.httpListeners.1.properties.firewallPolicy", None)),
        (promises_network.web_firewall, drop(WAF, "-uploads")),
        (promises_network.downloads_stream, put(GATEWAY, "", "properties.globalConfiguration", {})),
        (promises_network.downloads_stream, put(GATEWAY, "", "properties.globalConfiguration.enableResponseBuffering", True)),
        (promises_network.downloads_stream, put(GATEWAY, "", "properties.globalConfiguration.enableRequestBuffering", False)),
        (promises_network.browsers_named, put(f"{STORAGE}/blobServices", "primary", "properties.cors.corsRules", [ANY_ORIGIN])),
        (promises_network.browsers_named, put(f"{STORAGE}/blobServices", "stage", "properties.cors.corsRules", [ANY_ORIGIN])),
        (promises_network.browsers_named, put(f"{STORAGE}/blobServices", "stage", "properties.cors.corsRules", [ANY_ORIGIN | {"allowedMethods": ["GET"]}])),
        (promises_network.browsers_named, setting("STRONGROOM_CORS_ORIGINS", "*")),
        (promises_network.browsers_named, put(SITE, "", "properties.siteConfig.cors", {"allowedOrigins": ["*"]})),
        (promises_network.names_only, put("Microsoft.Network/virtualNetworks", "", "properties.subnets.2.properties.routeTable", {})),
        (promises_network.names_only, put("Microsoft.Network/virtualNetworks", "", "properties.subnets.2.properties.serviceEndpoints", [{"service": "Microsoft.Web"}])),
        (promises_network.names_only, put("Microsoft.Network/virtualNetworks", "", "properties.subnets.0.properties.defaultOutboundAccess", True)),
        (promises_network.names_only, put("Microsoft.Network/networkSecurityGroups", "endpoints", "properties.securityRules.1.properties.access", "Allow")),
        (promises_network.names_only, put("Microsoft.Network/routeTables", "", "properties.routes.0.properties.nextHopType", "Internet")),
        (promises_network.names_only, put("Microsoft.Network/firewallPolicies/ruleCollectionGroups", "", "properties.ruleCollections.1.rules.0.targetFqdns", ["*"])),
        (promises_network.names_only, put("Microsoft.Network/firewallPolicies/ruleCollectionGroups", "", "properties.ruleCollections.1.rules.0.ruleType", "NetworkRule")),
        (promises_network.names_only, put("Microsoft.Network/firewallPolicies/ruleCollectionGroups", "", "properties.ruleCollections.0.rules.1.targetFqdns", ["x.example"])),
        (promises_network.app_reaches_its_services, put("Microsoft.Network/networkSecurityGroups", "weu-application", "properties.securityRules.0.properties.destinationPortRanges", ["443"])),
        (promises_network.app_reaches_its_services, put("Microsoft.Network/networkSecurityGroups", "weu-application", "properties.securityRules.1.properties.destinationPortRange", "*")),
        (promises_network.app_reaches_its_services, put("Microsoft.Network/networkSecurityGroups", "weu-application", "properties.securityRules.2.properties.access", "Allow")),
        (promises_network.names_of_tenants_resolve, put("Microsoft.Network/privateDnsZones/virtualNetworkLinks", "privatelink.blob", "properties.resolutionPolicy", "Default")),
        (promises_operation.everything_logged, drop("Microsoft.Insights/diagnosticSettings", "kv-sr-prd-app")),
        (promises_operation.everything_logged, put("Microsoft.Insights/diagnosticSettings", "Microsoft.Web/sites", "properties.workspaceId", "/elsewhere")),
        (promises_operation.everything_logged, drop("Microsoft.Insights/diagnosticSettings", "to-workspace-and-archive")),
        (promises_operation.everything_logged, _unthought_type),
        (promises_operation.app_settings, setting("STRONGROOM_KEY_VAULT_URL", None)),
        (promises_operation.app_settings, setting("STRONGROOM_OUTBOX_RELAY_SCHEDULE", None)),
        (promises_operation.app_settings, setting("STRONGROOM_NOBODY_READS_THIS", "x")),
        (promises_operation.app_settings, setting("STRONGROOM_DATA_DIR", "/data")),
        (promises_operation.app_settings, setting("STRONGROOM_ENVIRONMENT", "staging")),
        (promises_operation.app_settings, setting("PYTHON_ENABLE_INIT_INDEXING", None)),
        (promises_operation.app_settings, setting("FUNCTIONS_MYSTERY", "x")),
        (promises_operation.roles, put(ROLE, "vaults/kv-sr-prd-app", "properties.roleDefinitionId", f"/x/{OWNER}")),
        (promises_operation.roles, _a_role_of_a_group),
        (promises_operation.roles, put(ROLE, "", "properties.principalType", "User")),
        (promises_operation.roles, drop(ROLE, "containers/backup/")),
        (promises_operation.roles, put("Microsoft.Authorization/roleDefinitions", "", "properties.permissions.0.dataActions.0", "Microsoft.KeyVault/vaults/*")),
        (promises_operation.roles, put(f"{RECORDS}/sqlRoleDefinitions", "", "properties.permissions.0.dataActions.0", "Microsoft.DocumentDB/databaseAccounts/*")),
        (promises_operation.app_settings, setting("STRONGROOM_TRUSTED_PROXIES", "2")),
        (promises_operation.app_settings, setting("STRONGROOM_STAFF_NETWORKS", "")),
        (promises_operation.app_settings, setting("STRONGROOM_LONGEST_DELIVERY_PAUSE_SECONDS", "0")),
        (promises_operation.app_settings, setting("STRONGROOM_KEY_PROTECTION", "software")),
        (promises_operation.app_settings, setting("STRONGROOM_CLIENT_ADDRESS_HEADER", "X-Forwarded-For")),
        (promises_operation.app_settings, put(GATEWAY, "", "properties.rewriteRuleSets.0.properties.rewriteRules.0.actionSet.requestHeaderConfigurations", [])),
        (promises_operation.roles, put(f"{RECORDS}/sqlRoleAssignments", "", "properties.scope", "/x/databaseAccounts/y/dbs/strongroom")),
        (promises_operation.roles, put("Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials", "", "properties.subject", "repo:someone/else:ref:refs/heads/main")),
        (promises_operation.least_compute, put(SITE, "", "properties.functionAppConfig.runtime.version", "3.9")),
        (promises_operation.least_compute, put(SITE, "", "properties.functionAppConfig.scaleAndConcurrency.alwaysReady", [])),
        (promises_operation.least_compute, put(SITE, "", "properties.virtualNetworkSubnetId", "")),
        (promises_operation.least_compute, put(SITE, "", "properties.functionAppConfig.deployment.storage.authentication.type", "StorageAccountConnectionString")),
        (promises_operation.least_compute, put("Microsoft.Web/serverfarms", "", "properties.zoneRedundant", False)),
        (promises_operation.least_compute, put(SITE, "", "properties.functionAppConfig.scaleAndConcurrency.triggers", {})),
        (promises_operation.least_compute, put(SITE, "", "properties.functionAppConfig.scaleAndConcurrency.triggers.http.perInstanceConcurrency", 200)),
        (promises_operation.least_compute, put(SITE, "", "properties.functionAppConfig.scaleAndConcurrency.instanceMemoryMB", 4096)),
        (promises_operation.kept_so, drop("Microsoft.Authorization/policyAssignments", "no-public-stores")),
        (promises_operation.kept_so, put("Microsoft.Authorization/policyDefinitions", "no-public", "properties.policyRule.then.effect", "audit")),
        (promises_operation.kept_so, put("Microsoft.Authorization/policyDefinitions", "no-public", "properties.policyRule.if.anyOf.4.allOf", [])),
        (promises_operation.kept_so, put("Microsoft.Authorization/policyAssignments", "no-public", "properties.parameters.exempt.value", [SITE])),
        (promises_operation.kept_so, drop("Microsoft.Authorization/locks", "primary")),
        (promises_operation.alerts, drop("Microsoft.Insights/metricAlerts", "dead-letters")),
        (promises_operation.alerts, drop("Microsoft.Insights/scheduledQueryRules", "partition-large")),
        (promises_operation.alerts, put("Microsoft.Insights/scheduledQueryRules", "backup-late", "properties.enabled", False)),
        (promises_operation.alerts, put("Microsoft.Insights/metricAlerts", "backup-failed", "properties.actions", [])),
        (promises_operation.alerts, put("Microsoft.Insights/metricAlerts", "dead-letters", "name", "undocumented")),
        (promises_operation.alerts, put("Microsoft.Insights/activityLogAlerts", "", "properties.condition.allOf.2.anyOf.12.equals", "x")),
        (promises_operation.alerts, put("Microsoft.Consumption/budgets", "", "properties.notifications", {})),
        (promises_operation.partitions_watched, drop("Microsoft.Insights/scheduledQueryRules", "partition-large")),
        (promises_operation.partitions_watched, put("Microsoft.Insights/scheduledQueryRules", "partition-large", "properties.criteria.allOf.0.query", "CDBPartitionKeyStatistics | where SizeKb > 20000000")),
        (promises_operation.partitions_watched, put("Microsoft.Insights/scheduledQueryRules", "partition-large", "properties.severity", 3)),
        (promises_operation.partitions_watched, put("Microsoft.Insights/diagnosticSettings", "/databaseAccounts/", "properties.logAnalyticsDestinationType", None)),
        (promises_operation.partitions_watched, put("Microsoft.Insights/diagnosticSettings", "/databaseAccounts/", "properties.logs", [])),
        (promises_operation.tells_where_it_is, put(f"{STORAGE}/blobServices/containers", "primary", "properties.metadata.environment", "staging")),
        (promises_operation.tells_where_it_is, put("Microsoft.Resources/resourceGroups", "", "name", "rg")),
    ],
}  # fmt: skip
