targetScope = 'subscription'

metadata description = 'One environment of Strongroom in one subscription, from nothing. See docs/operations.md for the commands.'

import {
  capacityPlan
  contextPlan
  edgePlan
  endpointPlan
  environmentName
  logAlertPlan
  metricAlertPlan
  regionPlan
  repositoryPlan
  retentionPlan
  tierName
  watchPlan
} from 'types.bicep'
import { accountName, contextOf, globalName, groupName, keyVaultName, localName, zonesOf } from 'names.bicep'
import { builtInRoles, ownRole } from 'roles.bicep'

@description('Which environment this is.')
param environment environmentName

@description('The subscription that it belongs in. The deployment refuses any other.')
@minLength(36)
@maxLength(36)
param subscriptionId string

@description('full: gateway, firewall, dedicated bus, standby network. small: the same stores for a tenth of the cost.')
param tier tierName

@description('Where the app runs, and where documents and records are written.')
param primary regionPlan

@description('Where replicas and backups are, and where the app runs when the first region is lost.')
param secondary regionPlan

@description('How much of everything there is.')
param capacity capacityPlan

@description('What the outside sees and what may be reached from inside.')
param edge edgePlan

@description('How long things are kept.')
param retention retentionPlan

@description('Who is told, and from when the budget counts.')
param watch watchPlan

@description('The repository whose releases may be shipped.')
param repository repositoryPlan

@description('SHA-256 of the secret that creates the first operator, once; empty: none can be created so.')
param bootstrapDigest string = ''

@description('The certificate of the gateway with its private key, PFX without a password, base 64; empty: the one that is there stays.')
@secure()
param certificate string = ''

@description('When that certificate ends, seconds since 1970. If it is forgotten the certificate counts as over, and is not used.')
param certificateExpires int = 1

@description('The subscription, once it is sure that it is the right one.')
var here = subscription().subscriptionId == subscriptionId
  ? subscriptionId
  : fail('These parameters are for the ${environment} environment in subscription ${subscriptionId}, and this is ${subscription().subscriptionId}.')

@description('What every resource of the environment carries and refers to.')
var context contextPlan = contextOf(environment, tier, here, az.environment().suffixes.keyvaultDns)

@description('The private DNS zones.')
var zones = zonesOf(az.environment().suffixes.storage)

@description('Whether everything of a production environment is there.')
var full = tier == 'full'

@description('The resource groups.')
var groups = {
  primary: groupName(environment, primary.code)
  secondary: groupName(environment, secondary.code)
  watch: groupName(environment, 'watch')
}

@description('The identities.')
var identities = {
  app: localName('id', environment, 'app')
  encryption: localName('id', environment, 'encryption')
  gateway: localName('id', environment, 'gateway')
}

@description('The stores.')
var names = {
  primary: accountName('primary', environment, context.suffix)
  replica: accountName('replica', environment, context.suffix)
  backup: accountName('backup', environment, context.suffix)
  backupKeys: accountName('backupkeys', environment, context.suffix)
  archive: accountName('archive', environment, context.suffix)
  appKeys: keyVaultName('app', environment, context.suffix)
  platformKeys: keyVaultName('plat', environment, context.suffix)
  records: globalName('cosmos', environment, 'records', context.suffix)
  bus: globalName('sb', environment, 'events', context.suffix)
}

@description('The ids of the stores, known before they are made.')
var ids = {
  primary: resourceId(here, groups.primary, 'Microsoft.Storage/storageAccounts', names.primary)
  replica: resourceId(here, groups.secondary, 'Microsoft.Storage/storageAccounts', names.replica)
  backup: resourceId(here, groups.secondary, 'Microsoft.Storage/storageAccounts', names.backup)
  backupKeys: resourceId(here, groups.secondary, 'Microsoft.Storage/storageAccounts', names.backupKeys)
  archive: resourceId(here, groups.watch, 'Microsoft.Storage/storageAccounts', names.archive)
  appKeys: resourceId(here, groups.primary, 'Microsoft.KeyVault/vaults', names.appKeys)
  platformKeys: resourceId(here, groups.primary, 'Microsoft.KeyVault/vaults', names.platformKeys)
  records: resourceId(here, groups.primary, 'Microsoft.DocumentDB/databaseAccounts', names.records)
  bus: resourceId(here, groups.primary, 'Microsoft.ServiceBus/namespaces', names.bus)
  linkScope: resourceId(
    here,
    groups.watch,
    'Microsoft.Insights/privateLinkScopes',
    localName('ampls', environment, 'watch')
  )
  insights: resourceId(here, groups.watch, 'Microsoft.Insights/components', localName('appi', environment, 'watch'))
}

@description('What both regions reach, each through endpoints of its own.')
var endpoints endpointPlan[] = concat(
  [
    { name: 'primary', target: ids.primary, group: 'blob', zones: [zones.blob] }
    { name: 'replica', target: ids.replica, group: 'blob', zones: [zones.blob] }
    { name: 'backup', target: ids.backup, group: 'blob', zones: [zones.blob] }
    { name: 'backup-keys', target: ids.backupKeys, group: 'blob', zones: [zones.blob] }
    { name: 'keys', target: ids.appKeys, group: 'vault', zones: [zones.keys] }
    { name: 'records', target: ids.records, group: 'Sql', zones: [zones.records] }
    {
      name: 'monitor'
      target: ids.linkScope
      group: 'azuremonitor'
      zones: [zones.monitor, zones.monitorIngestion, zones.monitorQuery, zones.monitorAgents, zones.blob]
    }
  ],
  full
    ? [
        { name: 'platform', target: ids.platformKeys, group: 'vault', zones: [zones.keys] }
        { name: 'bus', target: ids.bus, group: 'namespace', zones: [zones.bus] }
      ]
    : []
)

@description('The namespace in which Application Insights has the metrics of shared/base/telemetry.py.')
var ownMetrics = 'azure.applicationinsights'

@description('Where metrics tell of trouble: what is a number or a rate, and what is said again until it is repaired.')
var metricAlerts metricAlertPlan[] = [
  {
    name: 'dead-letters'
    target: ids.bus
    namespace: 'Microsoft.ServiceBus/namespaces'
    metric: 'DeadletteredMessages'
    aggregation: 'Maximum'
    threshold: 0
    severity: 1
    dimension: ''
    values: []
  }
  {
    name: 'bus-throttled'
    target: ids.bus
    namespace: 'Microsoft.ServiceBus/namespaces'
    metric: 'ThrottledRequests'
    aggregation: 'Total'
    threshold: 10
    severity: 1
    dimension: ''
    values: []
  }
  {
    name: 'records-throttled'
    target: ids.records
    namespace: 'Microsoft.DocumentDB/databaseAccounts'
    metric: 'TotalRequests'
    aggregation: 'Count'
    threshold: 100
    severity: 1
    dimension: 'StatusCode'
    values: ['429']
  }
  {
    name: 'keys-throttled'
    target: ids.appKeys
    namespace: 'Microsoft.KeyVault/vaults'
    metric: 'ServiceApiResult'
    aggregation: 'Count'
    threshold: 10
    severity: 1
    dimension: 'StatusCode'
    values: ['429']
  }
  {
    name: 'primary-throttled'
    target: ids.primary
    namespace: 'Microsoft.Storage/storageAccounts'
    metric: 'Transactions'
    aggregation: 'Total'
    threshold: 100
    severity: 1
    dimension: 'ResponseType'
    values: ['ServerBusyError', 'ClientThrottlingError']
  }
  {
    name: 'backup-failed'
    target: ids.insights
    namespace: ownMetrics
    metric: 'strongroom.backup.failures'
    aggregation: 'Total'
    threshold: 0
    severity: 0
    dimension: ''
    values: []
  }
  {
    name: 'replication-late'
    target: ids.insights
    namespace: ownMetrics
    metric: 'strongroom.replication.lag'
    aggregation: 'Maximum'
    threshold: 900
    severity: 1
    dimension: ''
    values: []
  }
  {
    name: 'queue-late'
    target: ids.insights
    namespace: ownMetrics
    metric: 'strongroom.queue.age'
    aggregation: 'Maximum'
    threshold: 900
    severity: 1
    dimension: ''
    values: []
  }
  {
    name: 'outbox-late'
    target: ids.insights
    namespace: ownMetrics
    metric: 'strongroom.outbox.age'
    aggregation: 'Maximum'
    threshold: 900
    severity: 1
    dimension: ''
    values: []
  }
  {
    name: 'checkpoint-late'
    target: ids.insights
    namespace: ownMetrics
    metric: 'strongroom.audit.checkpoint.age'
    aggregation: 'Maximum'
    threshold: 300
    severity: 1
    dimension: ''
    values: []
  }
  {
    name: 'trash-failed'
    target: ids.insights
    namespace: ownMetrics
    metric: 'strongroom.trash.failures'
    aggregation: 'Total'
    threshold: 0
    severity: 1
    dimension: ''
    values: []
  }
]

@description('Where logs tell of trouble. The app writes a line that begins with the slug, once and with what it is about: a metric that was not exported yet would be lost with its process.')
var logAlerts logAlertPlan[] = [
  {
    // A metric as well, but asked for in the logs: a timer that does not run says nothing, which a metric alert
    // takes for good. It runs each minute.
    name: 'backup-late'
    query: 'union isfuzzy=true AppMetrics, (datatable(Name: string, Sum: real, ItemCount: int)[]) | where Name == "strongroom.backup.age" | summarize runs = count(), oldest = max(Sum / ItemCount) | where runs == 0 or oldest > 900'
    threshold: 0
    every: 'PT15M'
    severity: 0
  }
  {
    name: 'backup-finding'
    query: 'AppTraces | where Message startswith "backup.finding"'
    threshold: 0
    every: 'PT15M'
    severity: 0
  }
  {
    name: 'restore-drill-failed'
    query: 'AppTraces | where Message startswith "drill.failed"'
    threshold: 0
    every: 'PT1H'
    severity: 1
  }
  {
    name: 'restore-failed'
    query: 'AppTraces | where Message startswith "restore.failed"'
    threshold: 0
    every: 'PT15M'
    severity: 1
  }
  {
    name: 'target-failed'
    query: 'AppTraces | where Message startswith "target.failed"'
    threshold: 0
    every: 'PT1H'
    severity: 1
  }
  {
    name: 'document-lost'
    query: 'AppTraces | where Message startswith "document.lost"'
    threshold: 0
    every: 'PT5M'
    severity: 0
  }
  {
    name: 'record-damaged'
    query: 'AppTraces | where Message startswith "record.damaged"'
    threshold: 0
    every: 'PT5M'
    severity: 1
  }
  {
    name: 'audit-difference'
    query: 'AppTraces | where Message startswith "audit.difference"'
    threshold: 0
    every: 'PT5M'
    severity: 0
  }
  {
    name: 'audit-alert'
    query: 'AppTraces | where Message startswith "audit.alert"'
    threshold: 0
    every: 'PT5M'
    severity: 1
  }
  {
    name: 'reviews-overdue'
    query: 'AppTraces | where Message startswith "reviews.overdue"'
    threshold: 0
    every: 'PT1H'
    severity: 2
  }
  {
    name: 'reviews-failed'
    query: 'AppTraces | where Message startswith "reviews.failed"'
    threshold: 3
    every: 'PT1H'
    severity: 2
  }
  {
    name: 'audit-monitor-failed'
    query: 'AppTraces | where Message startswith "audit.monitor-failed"'
    threshold: 3
    every: 'PT1H'
    severity: 1
  }
  {
    name: 'sign-in-attack'
    // A metric as well: its dimensions are in the logs alone.
    query: 'AppMetrics | where Name == "strongroom.refusals" and tostring(Properties["http.route"]) startswith "/api/v1/auth/" and tostring(Properties["error.type"]) in ("sign-in-refused", "rate-limited") | summarize refusals = sum(Sum) | where refusals > 100'
    threshold: 0
    every: 'PT5M'
    severity: 1
  }
  {
    // The plan's own metric of failed requests is not documented for Flex Consumption. The host's rows, not those
    // of the app's spans: they have the requests that the app never got, as it did not start.
    name: 'app-errors'
    query: 'AppRequests | where AppRoleName != "strongroom" and toint(ResultCode) >= 500'
    threshold: 10
    every: 'PT15M'
    severity: 1
  }
  {
    // Half of the 20 GB at which Cosmos DB refuses every write to a partition; sizes are in KB.
    name: 'partition-large'
    query: 'CDBPartitionKeyStatistics | where SizeKb > 10000000'
    threshold: 0
    every: 'P1D'
    severity: 1
  }
  {
    name: 'certificate-expiry'
    query: 'AzureDiagnostics | where ResourceProvider == "MICROSOFT.KEYVAULT" and OperationName in ("SecretNearExpiryEventGridNotification", "SecretExpiredEventGridNotification", "KeyNearExpiryEventGridNotification")'
    threshold: 0
    every: 'P1D'
    severity: 1
  }
]

resource primaryGroup 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: groups.primary
  location: primary.name
  tags: context.tags
}

resource secondaryGroup 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: groups.secondary
  location: secondary.name
  tags: context.tags
}

resource watchGroup 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: groups.watch
  location: primary.name
  tags: context.tags
}

module ourRoles 'modules/custom-roles.bicep' = {
  params: { environment: environment }
}

module ourIdentities 'modules/identities.bicep' = {
  scope: watchGroup
  params: {
    location: primary.name
    environment: environment
    tags: context.tags
    repository: repository
  }
}

module watching 'modules/watch.bicep' = {
  scope: watchGroup
  params: {
    location: primary.name
    environment: environment
    tags: context.tags
    retention: retention
    watch: watch
    dailyGigabytes: capacity.logDailyGigabytes
    grants: [{ identity: identities.app, role: builtInRoles.monitoringMetricsPublisher }]
    identityGroup: groups.watch
  }
  dependsOn: [ourIdentities]
}

module platformKeys 'modules/key-vault.bicep' = {
  scope: primaryGroup
  params: {
    location: primary.name
    context: context
    name: names.platformKeys
    recoveryDays: retention.recoveryDays
    platformReads: true
    grants: concat(
      [{ identity: identities.encryption, role: builtInRoles.cryptoServiceEncryptionUser }],
      full ? [{ identity: identities.gateway, role: builtInRoles.keyVaultSecretsUser }] : []
    )
  }
  dependsOn: [ourIdentities, watching]
}

module primaryNetwork 'modules/region-network.bicep' = {
  scope: primaryGroup
  params: {
    region: primary
    context: context
    tier: tier
    zones: map(items(zones), zone => zone.value)
    operations: edge.operations
  }
  dependsOn: [platformKeys]
}

module standbyNetwork 'modules/region-network.bicep' = if (full) {
  scope: secondaryGroup
  params: {
    region: secondary
    context: context
    tier: tier
    zones: map(items(zones), zone => zone.value)
    operations: edge.operations
  }
  dependsOn: [platformKeys]
}

module platformKeyring 'modules/platform-keys.bicep' = {
  scope: primaryGroup
  params: {
    vaultName: names.platformKeys
  }
  // Stores use these keys by a role, and a role needs minutes until it holds everywhere: those that the
  // networks take.
  dependsOn: [platformKeys, primaryNetwork, standbyNetwork]
}

module gatewayCertificate 'modules/certificate.bicep' = if (!empty(certificate)) {
  scope: primaryGroup
  params: {
    vaultName: names.platformKeys
    certificate: certificate
    certificateExpires: certificateExpires
  }
  dependsOn: [platformKeys]
}

module appKeys 'modules/key-vault.bicep' = {
  scope: primaryGroup
  params: {
    location: primary.name
    context: context
    name: names.appKeys
    recoveryDays: retention.recoveryDays
    platformReads: false
    grants: [{ identity: identities.app, role: ownRole(here, 'key-user') }]
  }
  dependsOn: [ourIdentities, ourRoles, watching]
}

module primaryStore 'modules/storage-account.bicep' = {
  scope: primaryGroup
  params: {
    location: primary.name
    context: context
    plan: {
      name: names.primary
      sku: 'Standard_RAGZRS'
      containers: [
        { name: 'primary', grants: [{ identity: identities.app, role: builtInRoles.blobDataContributor }] }
      ]
      grants: []
      versioning: true
      recoveryDays: retention.recoveryDays
      deleteAfterDays: 0
      immutableDays: 0
      immutability: 'Unlocked'
      appendable: false
      browserOrigins: []
    }
  }
  dependsOn: [platformKeyring]
}

module replica 'modules/storage-account.bicep' = {
  scope: secondaryGroup
  params: {
    location: secondary.name
    context: context
    plan: {
      name: names.replica
      sku: 'Standard_GZRS'
      containers: [
        { name: 'replica', grants: [{ identity: identities.app, role: builtInRoles.blobDataContributor }] }
      ]
      grants: []
      versioning: true
      recoveryDays: retention.recoveryDays
      deleteAfterDays: 0
      immutableDays: 0
      immutability: 'Unlocked'
      appendable: false
      browserOrigins: []
    }
  }
  dependsOn: [platformKeyring]
}

module backup 'modules/storage-account.bicep' = {
  scope: secondaryGroup
  params: {
    location: secondary.name
    context: context
    plan: {
      name: names.backup
      sku: 'Standard_GZRS'
      containers: [
        { name: 'backup', grants: [{ identity: identities.app, role: ownRole(here, 'backup-keeper') }] }
        { name: 'audit', grants: [{ identity: identities.app, role: ownRole(here, 'backup-keeper') }] }
      ]
      grants: []
      versioning: true
      recoveryDays: retention.recoveryDays
      deleteAfterDays: 0
      // The app gives each object a locked date of its own, which goes before this. What comes without one, by a
      // mistake or from someone who has taken the app over, is kept for these days all the same.
      immutableDays: retention.backupDays
      immutability: retention.immutability
      appendable: false
      browserOrigins: []
    }
  }
  dependsOn: [ourRoles, platformKeyring]
}

module backupKeys 'modules/storage-account.bicep' = {
  scope: secondaryGroup
  params: {
    location: secondary.name
    context: context
    plan: {
      name: names.backupKeys
      // The copy in the other region follows each deletion.
      sku: 'Standard_GZRS'
      containers: [
        { name: 'backup-keys', grants: [{ identity: identities.app, role: ownRole(here, 'key-page-keeper') }] }
      ]
      grants: []
      // An erased document is erased in the backups because its key is deleted here: nothing may bring it back.
      versioning: false
      recoveryDays: 0
      deleteAfterDays: 0
      immutableDays: 0
      immutability: 'Unlocked'
      appendable: false
      browserOrigins: []
    }
  }
  dependsOn: [ourRoles, platformKeyring]
}

module archive 'modules/storage-account.bicep' = {
  scope: watchGroup
  params: {
    location: primary.name
    context: context
    plan: {
      name: names.archive
      sku: 'Standard_GZRS'
      containers: [{ name: 'insights-activity-logs', grants: [] }]
      grants: []
      versioning: true
      recoveryDays: retention.recoveryDays
      deleteAfterDays: 0
      immutableDays: retention.archiveDays
      immutability: retention.immutability
      appendable: true
      browserOrigins: []
    }
  }
  dependsOn: [platformKeyring]
}

module records 'modules/records.bicep' = {
  scope: primaryGroup
  params: {
    context: context
    name: names.records
    regions: [primary, secondary]
    maximumThroughput: capacity.recordsMaxThroughput
    zoneRedundant: full
    applicationIdentity: identities.app
  }
  dependsOn: [platformKeyring]
}

module bus 'modules/bus.bicep' = {
  scope: primaryGroup
  params: {
    context: context
    name: names.bus
    regions: [primary, secondary]
    tier: tier
    messagingUnits: capacity.busMessagingUnits
    grants: [
      { identity: identities.app, role: builtInRoles.busDataSender }
      { identity: identities.app, role: builtInRoles.busDataReceiver }
    ]
  }
  dependsOn: [platformKeyring]
}

module primaryEndpoints 'modules/private-endpoint.bicep' = [
  for endpoint in endpoints: {
    scope: primaryGroup
    params: {
      region: primary
      context: context
      endpoint: endpoint
    }
    dependsOn: [primaryStore, replica, backup, backupKeys, appKeys, records, bus]
  }
]

module standbyEndpoints 'modules/private-endpoint.bicep' = [
  for endpoint in endpoints: if (full) {
    scope: secondaryGroup
    params: {
      region: secondary
      context: context
      endpoint: endpoint
    }
    // A store takes one endpoint at a time, and fails the second of two.
    dependsOn: [primaryEndpoints]
  }
]

module active 'active.bicep' = {
  scope: primaryGroup
  params: {
    environment: environment
    tier: tier
    region: primary
    capacity: capacity
    edge: edge
    bootstrapDigest: bootstrapDigest
  }
  dependsOn: [primaryEndpoints, gatewayCertificate]
}

module subscriptionWatch 'modules/subscription-watch.bicep' = {
  params: {
    environment: environment
    watch: watch
    workspaceId: context.workspaceId
    archiveId: ids.archive
  }
  dependsOn: [archive]
}

module alerts 'modules/alerts.bicep' = {
  scope: watchGroup
  params: {
    location: primary.name
    context: context
    metricAlerts: metricAlerts
    logAlerts: logAlerts
  }
  dependsOn: [primaryStore, appKeys, records, bus]
}

module administrationAlert 'modules/administration-alert.bicep' = {
  scope: watchGroup
  params: { context: context }
  dependsOn: [watching]
}

module workbook 'modules/workbook.bicep' = {
  scope: watchGroup
  params: {
    location: primary.name
    context: context
  }
  dependsOn: [watching]
}

module policies 'modules/policies.bicep' = {
  params: {
    regions: [primary.name, secondary.name]
    small: !full
  }
}

@description('The id of the function app.')
output appId string = active.outputs.appId

@description('Where clients find the API.')
output publicBaseUrl string = active.outputs.publicBaseUrl

@description('The account that keeps the releases.')
output releasesAccount string = active.outputs.releasesAccount
