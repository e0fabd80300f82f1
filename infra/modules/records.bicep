metadata description = 'The records: Cosmos DB in two regions, restorable to any second of the last days, without a single account key.'

import { contextPlan, regionPlan } from '../types.bicep'

@description('The regions, the one that takes writes first.')
@minLength(2)
@maxLength(2)
param regions regionPlan[]

@description('What every resource of the environment carries and refers to.')
param context contextPlan

@description('Its name.')
param name string

@description('The most that all containers together may use, request units a second.')
param maximumThroughput int

@description('Whether each region spreads its copies over its zones.')
param zoneRedundant bool

@description('The name of the identity that reads and writes records.')
param applicationIdentity string

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: applicationIdentity
  scope: resourceGroup(context.identityGroup)
}

resource encryptionIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: context.encryption.identity
  scope: resourceGroup(context.identityGroup)
}

resource account 'Microsoft.DocumentDB/databaseAccounts@2026-03-15' = {
  name: name
  location: regions[0].name
  tags: context.tags
  kind: 'GlobalDocumentDB'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${encryptionIdentity.id}': {} }
  }
  properties: {
    databaseAccountOfferType: 'Standard'
    locations: [
      for (region, i) in regions: {
        locationName: region.name
        failoverPriority: i
        isZoneRedundant: zoneRedundant
      }
    ]
    // In the write region this reads what was last written; the other region is at most five minutes behind.
    consistencyPolicy: {
      defaultConsistencyLevel: 'BoundedStaleness'
      maxIntervalInSeconds: 300
      maxStalenessPrefix: 100000
    }
    enableAutomaticFailover: true
    enableMultipleWriteLocations: false
    backupPolicy: {
      type: 'Continuous'
      continuousModeProperties: { tier: 'Continuous30Days' }
    }
    disableLocalAuth: true
    disableKeyBasedMetadataWriteAccess: true
    minimalTlsVersion: 'Tls12'
    publicNetworkAccess: 'Disabled'
    networkAclBypass: 'None'
    keyVaultKeyUri: '${context.encryption.vaultUri}keys/records'
    defaultIdentity: 'UserAssignedIdentity=${encryptionIdentity.id}'
  }

  resource database 'sqlDatabases' = {
    name: 'strongroom'
    tags: context.tags
    properties: {
      resource: { id: 'strongroom' }
      options: { autoscaleSettings: { maxThroughput: maximumThroughput } }
    }

    resource containers 'containers' = [
      for container in ['records', 'directory']: {
        name: container
        tags: context.tags
        properties: {
          resource: {
            id: container
            partitionKey: { kind: 'Hash', paths: ['/partition'], version: 2 }
            // On, and nothing expires unless the record says so.
            defaultTtl: -1
            indexingPolicy: {
              automatic: true
              indexingMode: 'consistent'
              // What queries ask for; `_ts`, by which changed records are found, is always indexed. Bodies hold sealed
              // names and wrapped keys: nothing to search.
              includedPaths: [
                { path: '/partition/?' }
                { path: '/place/?' }
                { path: '/index/*' }
                { path: '/expires_at/?' }
              ]
              excludedPaths: [{ path: '/*' }, { path: '/"_etag"/?' }]
            }
          }
        }
      }
    ]
  }

  // The built-in contributor may also read the change feed and run stored procedures; the app does neither.
  resource recordKeeper 'sqlRoleDefinitions' = {
    name: guid(account.id, 'record-keeper')
    properties: {
      roleName: 'Strongroom record keeper'
      type: 'CustomRole'
      assignableScopes: [account.id]
      permissions: [
        {
          dataActions: [
            'Microsoft.DocumentDB/databaseAccounts/readMetadata'
            'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/executeQuery'
            'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/create'
            'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/read'
            'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/replace'
            'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/upsert'
            'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/delete'
          ]
        }
      ]
    }
  }

  resource recordGrant 'sqlRoleAssignments' = {
    name: guid(account.id, identity.id, 'record-keeper')
    properties: {
      principalId: identity.properties.principalId
      roleDefinitionId: recordKeeper.id
      // The SDK reads the account itself before anything in it; there is one database.
      scope: account.id
    }
  }
}

#disable-next-line use-recent-api-versions // the newest that knows category groups
resource accountDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: account
  properties: {
    workspaceId: context.workspaceId
    logAnalyticsDestinationType: 'Dedicated'
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'Requests', enabled: true }]
  }
}

resource accountLock 'Microsoft.Authorization/locks@2020-05-01' = if (context.locked) {
  name: 'keep'
  scope: account
  properties: {
    level: 'CanNotDelete'
    notes: 'It holds every record, and the wrapped keys without which no document opens.'
  }
}
