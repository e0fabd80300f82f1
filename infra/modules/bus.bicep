metadata description = 'The bus: topics, subscriptions, filters and sessions exactly as topology.json lists them, for the embedded bus reads the same file.'

import { contextPlan, grant, regionPlan, tierName, topicPlan } from '../types.bicep'

@description('The regions, the active one first.')
@minLength(2)
@maxLength(2)
param regions regionPlan[]

@description('What every resource of the environment carries and refers to.')
param context contextPlan

@description('Its name.')
param name string

@description('full: dedicated, private and in both regions. small: shared, with identities only.')
param tier tierName

@description('Messaging units of the full tier.')
param messagingUnits int

@description('Who may send to the topics and receive from their subscriptions.')
param grants grant[]

@description('The one truth about topics and subscriptions.')
var topology topicPlan[] = loadJsonContent('../topology.json', '$.topics')

@description('Whether the namespace is dedicated.')
var dedicated = tier == 'full'

resource encryptionIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: context.encryption.identity
  scope: resourceGroup(context.identityGroup)
}

@description('What only a dedicated namespace can do.')
var dedicatedProperties = {
  zoneRedundant: true
  premiumMessagingPartitions: 1
  geoDataReplication: {
    // Nothing is acknowledged to a sender more than five minutes before the second region has it.
    maxReplicationLagDurationInSeconds: 300
    locations: [
      { locationName: regions[0].name, roleType: 'Primary' }
      { locationName: regions[1].name, roleType: 'Secondary' }
    ]
  }
  encryption: {
    keySource: 'Microsoft.KeyVault'
    requireInfrastructureEncryption: true
    keyVaultProperties: [
      {
        keyVaultUri: context.encryption.vaultUri
        keyName: 'bus'
        identity: { userAssignedIdentity: encryptionIdentity.id }
      }
    ]
  }
}

resource namespace 'Microsoft.ServiceBus/namespaces@2026-01-01' = {
  name: name
  location: regions[0].name
  tags: context.tags
  sku: dedicated
    ? { name: 'Premium', tier: 'Premium', capacity: messagingUnits }
    : { name: 'Standard', tier: 'Standard' }
  identity: dedicated
    ? { type: 'UserAssigned', userAssignedIdentities: { '${encryptionIdentity.id}': {} } }
    : { type: 'None' }
  properties: {
    disableLocalAuth: true
    minimumTlsVersion: '1.2'
    publicNetworkAccess: dedicated ? 'Disabled' : 'Enabled'
    ...(dedicated ? dedicatedProperties : {})
  }
}

module topics 'bus-topic.bicep' = [
  for topic in topology: {
    params: {
      context: context
      namespaceName: namespace.name
      topic: topic
      grants: grants
    }
  }
]

#disable-next-line use-recent-api-versions // the newest that knows category groups
resource namespaceDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: namespace
  properties: {
    workspaceId: context.workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

resource namespaceLock 'Microsoft.Authorization/locks@2020-05-01' = if (context.locked) {
  name: 'keep'
  scope: namespace
  properties: {
    level: 'CanNotDelete'
    notes: 'Events on their way are in it.'
  }
}
