metadata description = 'What runs in one region at a time: the edge, the way out, the app and what it needs at hand. Deployed by main.bicep; by itself, with the other region, to fail over.'

import { capacityPlan, contextPlan, edgePlan, endpointPlan, environmentName, regionPlan, tierName } from 'types.bicep'
import { accountName, contextOf, globalName, keyVaultName, localName, zonesOf } from 'names.bicep'
import { builtInRoles } from 'roles.bicep'

@description('Which environment this is.')
param environment environmentName

@description('full: gateway and firewall. small: the app\'s own URL.')
param tier tierName

@description('Where it runs.')
param region regionPlan

@description('How much of everything there is.')
param capacity capacityPlan

@description('What the outside sees and what may be reached from inside.')
param edge edgePlan

@description('SHA-256 of the secret that creates the first operator, once; empty: none can be created so.')
param bootstrapDigest string

@description('What every resource of the environment carries and refers to.')
var context contextPlan = contextOf(
  environment,
  tier,
  subscription().subscriptionId,
  az.environment().suffixes.keyvaultDns
)

@description('The domain of blobs.')
var blobDomain = 'blob.${az.environment().suffixes.storage}'

@description('The private DNS zones of the network.')
var zones = zonesOf(az.environment().suffixes.storage)

@description('Whether clients come through the gateway.')
var full = tier == 'full'

@description('The names that this file makes, and those that it refers to.')
var names = {
  app: globalName('func', environment, region.code, context.suffix)
  staging: accountName('stage${region.code}', environment, context.suffix)
  host: accountName('host${region.code}', environment, context.suffix)
  bus: globalName('sb', environment, 'events', context.suffix)
}

@description('The host name of the app at Azure.')
var appHost = '${names.app}.azurewebsites.net'

@description('What shared/wiring/settings.py reads. Every field that is not for the embedded profile alone has its value here.')
var settings = {
  STRONGROOM_PROFILE: 'azure'
  STRONGROOM_ENVIRONMENT: environment
  STRONGROOM_PUBLIC_BASE_URL: full ? 'https://${edge.apiHost}' : 'https://${appHost}'
  STRONGROOM_STAGED_PUBLIC_BASE_URL: full ? 'https://${edge.uploadHost}' : 'https://${names.staging}.${blobDomain}'
  STRONGROOM_BOOTSTRAP_SECRET_SHA256: bootstrapDigest
  STRONGROOM_MAX_DIRECT_UPLOAD_BYTES: '104857600'
  // 3,800 MiB through the gateway, which takes 4 GB; 5,000 MiB, the most of one Put Blob, without it.
  STRONGROOM_MAX_STAGED_UPLOAD_BYTES: full ? '3984588800' : '5242880000'
  STRONGROOM_REQUESTS_PER_MINUTE: '1200'
  STRONGROOM_SIGN_INS_PER_MINUTE: '30'
  // The Functions host writes X-Forwarded-For anew, with the gateway's address where there is one.
  STRONGROOM_TRUSTED_PROXIES: '1'
  STRONGROOM_CLIENT_ADDRESS_HEADER: full ? 'Strongroom-Client-Address' : 'X-Forwarded-For'
  // The gateway refuses the paths of staff from elsewhere; the app refuses the employees themselves.
  STRONGROOM_STAFF_NETWORKS: join(edge.staffNetworks, ',')
  // Well within the 30 minutes for which the host renews a lock.
  STRONGROOM_LONGEST_DELIVERY_PAUSE_SECONDS: '300'
  STRONGROOM_TELEMETRY: 'azure-monitor'
  STRONGROOM_TELEMETRY_TRACE_RATIO: '1'
  STRONGROOM_OUTBOX_RELAY_SCHEDULE: '*/15 * * * * *'
  STRONGROOM_UPLOAD_SWEEP_SCHEDULE: '0 */10 * * * *'
  STRONGROOM_TOKEN_KEY_ROTATION_SCHEDULE: '0 0 3 * * *'
  STRONGROOM_TENANT_KEY_ROTATION_SCHEDULE: '0 */10 * * * *'
  STRONGROOM_TENANT_KEY_ROTATION_DAYS: '365'
  STRONGROOM_BACKUP_SCHEDULE: '30 * * * * *'
  STRONGROOM_BACKUP_VERIFICATION_SCHEDULE: '45 * * * * *'
  STRONGROOM_RESTORE_SCHEDULE: '0 * * * * *'
  STRONGROOM_RESTORE_DRILL_SCHEDULE: '0 */10 * * * *'
  STRONGROOM_RESTORE_DRILL_DAYS: '30'
  STRONGROOM_TRASH_SCHEDULE: '30 */10 * * * *'
  STRONGROOM_TARGET_COPIES_SCHEDULE: '15 * * * * *'
  STRONGROOM_AUDIT_CHECKPOINT_SCHEDULE: '*/30 * * * * *'
  STRONGROOM_AUDIT_CHECKPOINT_SECONDS: '60'
  STRONGROOM_AUDIT_KEY_ROTATION_SCHEDULE: '0 15 3 * * *'
  STRONGROOM_AUDIT_KEY_ROTATION_DAYS: '365'
  // As with the backups: what holds no data of customers can be deleted with its account, weeks later.
  STRONGROOM_AUDIT_RETENTION_DAYS: environment == 'production' ? '3653' : '30'
  STRONGROOM_AUDIT_INDEX_DAYS: environment == 'production' ? '3653' : '400'
  // The names of the logs, which never change, whatever happens to the address of the API.
  STRONGROOM_AUDIT_LOG_HOST: full ? edge.apiHost : appHost
  STRONGROOM_AUDIT_ATTESTATION_SCHEDULE: '20 * * * * *'
  // In one line: what keeps settings need not keep the ends of lines.
  STRONGROOM_AUDIT_WITNESS_POLICY: replace(edge.attestation.witnessPolicy, '\n', '|')
  STRONGROOM_AUDIT_TIMESTAMP_URL: edge.attestation.timestampUrl
  STRONGROOM_AUDIT_TIMESTAMP_ROOTS: replace(edge.attestation.timestampRoots, '\n', '|')
  STRONGROOM_AUDIT_TIMESTAMP_MINUTES: '60'
  STRONGROOM_WEBHOOKS_SCHEDULE: '35 * * * * *'
  STRONGROOM_AUDIT_MONITOR_SCHEDULE: '40 */5 * * * *'
  STRONGROOM_GRANT_EXPIRY_SCHEDULE: '25 * * * * *'
  STRONGROOM_ACCESS_REVIEWS_SCHEDULE: '50 */10 * * * *'
  STRONGROOM_REVIEW_DAYS: '91'
  STRONGROOM_REVIEW_DECIDE_DAYS: '14'
  STRONGROOM_REVIEW_SUSPENDED_DAYS: '14'
  STRONGROOM_AUDIT_MONITOR_DAYS: '30'
  STRONGROOM_AUDIT_DOWNLOADS_PER_HOUR: '200'
  STRONGROOM_BACKUP_RETENTION_MIN: '24 7 0 0'
  // An account with an object inside its date cannot be deleted: what holds no data of customers can be, a year later.
  STRONGROOM_BACKUP_RETENTION_MAX: environment == 'production' ? '168 366 120 30' : '168 30 12 1'
  STRONGROOM_PRIMARY_ACCOUNT_URL: 'https://${accountName('primary', environment, context.suffix)}.${blobDomain}'
  STRONGROOM_REPLICA_ACCOUNT_URL: 'https://${accountName('replica', environment, context.suffix)}.${blobDomain}'
  STRONGROOM_BACKUP_ACCOUNT_URL: 'https://${accountName('backup', environment, context.suffix)}.${blobDomain}'
  STRONGROOM_BACKUP_KEYS_ACCOUNT_URL: 'https://${accountName('backupkeys', environment, context.suffix)}.${blobDomain}'
  STRONGROOM_STAGING_ACCOUNT_URL: 'https://${names.staging}.${blobDomain}'
  STRONGROOM_COSMOS_ENDPOINT: 'https://${globalName('cosmos', environment, 'records', context.suffix)}.documents.azure.com:443/'
  STRONGROOM_COSMOS_DATABASE: 'strongroom'
  STRONGROOM_KEY_VAULT_URL: 'https://${keyVaultName('app', environment, context.suffix)}${az.environment().suffixes.keyvaultDns}/'
  STRONGROOM_KEY_PROTECTION: capacity.keyProtection
  STRONGROOM_CORS_ORIGINS: join(edge.browserOrigins, ' ')
  STRONGROOM_SERVICE_BUS_NAMESPACE: '${names.bus}.servicebus.windows.net'
}

@description('The name of the identity that the app is.')
var appIdentity = localName('id', environment, 'app')

module egress 'modules/egress-firewall.bicep' = if (full) {
  params: {
    region: region
    context: context
    targetHosts: concat(edge.targetHosts, map(edge.targetAccounts, account => '${account}.${blobDomain}'))
    attestationHosts: edge.attestation.hosts
  }
}

module staging 'modules/storage-account.bicep' = {
  params: {
    location: region.name
    context: context
    plan: {
      name: names.staging
      sku: 'Standard_GZRS'
      containers: [
        { name: 'staging', grants: [{ identity: appIdentity, role: builtInRoles.blobDataContributor }] }
      ]
      grants: [{ identity: appIdentity, role: builtInRoles.blobDelegator }]
      // Content lies here as clients sent it: once deleted it must be gone.
      versioning: false
      recoveryDays: 0
      deleteAfterDays: 2
      immutableDays: 0
      immutability: 'Unlocked'
      appendable: false
      browserOrigins: edge.browserOrigins
    }
  }
}

module host 'modules/storage-account.bicep' = {
  params: {
    location: region.name
    context: context
    plan: {
      name: names.host
      sku: 'Standard_GZRS'
      containers: [
        { name: 'deployments', grants: [] }
        {
          name: 'releases'
          grants: [{ identity: localName('id', environment, 'shipping'), role: builtInRoles.blobDataContributor }]
        }
      ]
      grants: [
        { identity: appIdentity, role: builtInRoles.blobDataOwner }
        { identity: appIdentity, role: builtInRoles.tableDataContributor }
      ]
      versioning: false
      recoveryDays: 14
      deleteAfterDays: 0
      immutableDays: 0
      immutability: 'Unlocked'
      appendable: false
      browserOrigins: []
    }
  }
}

module app 'modules/application.bicep' = {
  params: {
    region: region
    context: context
    name: names.app
    tier: tier
    capacity: capacity
    edge: edge
    identityName: appIdentity
    hostAccount: names.host
    insightsName: localName('appi', environment, 'watch')
    busHost: '${names.bus}.servicebus.windows.net'
    settings: settings
    grants: [{ identity: localName('id', environment, 'shipping'), role: builtInRoles.websiteContributor }]
  }
  // It fetches its package and its state as soon as it starts.
  dependsOn: [host, activeEndpoints, egress]
}

@description('What the network of this region reaches only while the app runs here.')
var endpoints endpointPlan[] = [
  {
    name: 'staging'
    target: resourceId('Microsoft.Storage/storageAccounts', names.staging)
    group: 'blob'
    zones: [zones.blob]
  }
  {
    name: 'host-blob'
    target: resourceId('Microsoft.Storage/storageAccounts', names.host)
    group: 'blob'
    zones: [zones.blob]
  }
  {
    name: 'host-table'
    target: resourceId('Microsoft.Storage/storageAccounts', names.host)
    group: 'table'
    zones: [zones.table]
  }
]

// The account of the host has two, and takes one at a time.
@batchSize(1)
module activeEndpoints 'modules/private-endpoint.bicep' = [
  for endpoint in endpoints: {
    params: {
      region: region
      context: context
      endpoint: endpoint
    }
    dependsOn: [staging, host]
  }
]

module appEndpoint 'modules/private-endpoint.bicep' = if (full) {
  params: {
    region: region
    context: context
    endpoint: {
      name: 'app'
      target: resourceId('Microsoft.Web/sites', names.app)
      group: 'sites'
      zones: [zones.sites]
    }
  }
  dependsOn: [app]
}

module webFirewall 'modules/web-firewall.bicep' = if (full) {
  params: {
    region: region
    context: context
    edge: edge
    stagingContainer: 'staging'
  }
}

module gateway 'modules/gateway.bicep' = if (full) {
  params: {
    region: region
    context: context
    capacity: capacity
    edge: edge
    identityName: localName('id', environment, 'gateway')
    certificateUrl: '${context.encryption.vaultUri}secrets/tls'
    appHost: appHost
    stagingHost: '${names.staging}.${blobDomain}'
    apiPolicyId: webFirewall!.outputs.apiPolicyId
    contentPolicyId: webFirewall!.outputs.contentPolicyId
    uploadPolicyId: webFirewall!.outputs.uploadPolicyId
  }
  dependsOn: [appEndpoint, activeEndpoints]
}

module alerts 'modules/alerts.bicep' = if (full) {
  params: {
    location: region.name
    context: context
    logAlerts: []
    metricAlerts: [
      {
        name: 'gateway-unhealthy'
        target: resourceId('Microsoft.Network/applicationGateways', localName('agw', environment, region.code))
        namespace: 'Microsoft.Network/applicationGateways'
        metric: 'UnhealthyHostCount'
        aggregation: 'Average'
        threshold: 0
        severity: 0
        dimension: ''
        values: []
      }
    ]
  }
  dependsOn: [gateway]
}

@description('The id of the function app.')
output appId string = resourceId('Microsoft.Web/sites', names.app)

@description('Where clients find the API.')
output publicBaseUrl string = settings.STRONGROOM_PUBLIC_BASE_URL

@description('The account that keeps the releases.')
output releasesAccount string = names.host
