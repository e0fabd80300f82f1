metadata description = 'A storage account as every one of ours is: private, no account keys, encrypted twice and under our own key.'

import { accountPlan, contextPlan } from '../types.bicep'

@description('The region.')
param location string

@description('What every resource of the environment carries and refers to.')
param context contextPlan

@description('What makes it differ from the others.')
param plan accountPlan

resource encryptionIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: context.encryption.identity
  scope: resourceGroup(context.identityGroup)
}

resource account 'Microsoft.Storage/storageAccounts@2026-06-01' = {
  name: plan.name
  location: location
  tags: context.tags
  kind: 'StorageV2'
  sku: { name: plan.sku }
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${encryptionIdentity.id}': {} }
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    // Copies go only between accounts that have private endpoints in the same network.
    allowedCopyScope: 'PrivateLink'
    defaultToOAuthAuthentication: true
    isLocalUserEnabled: false
    isSftpEnabled: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: 'Disabled'
    networkAcls: {
      defaultAction: 'Deny'
      // Services of the platform still need a role. The archive gives the export of logs its way in by this.
      bypass: 'AzureServices'
    }
    keyPolicy: { keyExpirationPeriodInDays: 1 }
    sasPolicy: { sasExpirationPeriod: '1.00:00:00', expirationAction: 'Log' }
    encryption: {
      keySource: 'Microsoft.Keyvault'
      identity: { userAssignedIdentity: encryptionIdentity.id }
      keyvaultproperties: { keyvaulturi: context.encryption.vaultUri, keyname: 'storage' }
      requireInfrastructureEncryption: true
      services: {
        blob: { enabled: true, keyType: 'Account' }
        file: { enabled: true, keyType: 'Account' }
        queue: { enabled: true, keyType: 'Account' }
        table: { enabled: true, keyType: 'Account' }
      }
    }
    ...(plan.immutableDays == 0
      ? {}
      : {
          immutableStorageWithVersioning: {
            enabled: true
            immutabilityPolicy: {
              immutabilityPeriodSinceCreationInDays: plan.immutableDays
              state: plan.immutability
              allowProtectedAppendWrites: plan.appendable
            }
          }
        })
  }

  resource blobs 'blobServices' = {
    name: 'default'
    properties: {
      isVersioningEnabled: plan.versioning
      cors: {
        corsRules: empty(plan.browserOrigins)
          ? []
          : [
              {
                allowedOrigins: plan.browserOrigins
                allowedMethods: ['PUT']
                allowedHeaders: ['content-type', 'x-ms-blob-type']
                exposedHeaders: ['x-ms-error-code', 'x-ms-request-id']
                maxAgeInSeconds: 600
              }
            ]
      }
      deleteRetentionPolicy: plan.recoveryDays == 0
        ? { enabled: false }
        : { enabled: true, days: plan.recoveryDays, allowPermanentDelete: false }
      containerDeleteRetentionPolicy: plan.recoveryDays == 0
        ? { enabled: false }
        : { enabled: true, days: plan.recoveryDays }
    }
  }
}

resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2026-06-01' = if (plan.deleteAfterDays > 0 || plan.versioning) {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: concat(
        plan.deleteAfterDays == 0
          ? []
          : [
              {
                name: 'forget-what-was-left'
                type: 'Lifecycle'
                enabled: true
                definition: {
                  filters: { blobTypes: ['blockBlob'] }
                  actions: {
                    baseBlob: { delete: { daysAfterCreationGreaterThan: plan.deleteAfterDays } }
                  }
                }
              }
            ],
        !plan.versioning
          ? []
          : [
              {
                name: 'forget-old-versions'
                type: 'Lifecycle'
                enabled: true
                definition: {
                  filters: { blobTypes: ['blockBlob'] }
                  actions: {
                    version: {
                      delete: { daysAfterCreationGreaterThan: max(plan.recoveryDays, plan.immutableDays) }
                    }
                  }
                }
              }
            ]
      )
    }
  }
  dependsOn: [account::blobs]
}

module containers 'blob-container.bicep' = [
  for container in plan.containers: {
    params: {
      context: context
      accountName: account.name
      plan: container
    }
    dependsOn: [account::blobs]
  }
]

resource identities 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = [
  for grant in plan.grants: {
    name: grant.identity
    scope: resourceGroup(context.identityGroup)
  }
]

resource accountGrants 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (grant, i) in plan.grants: {
    name: guid(account.id, identities[i].id, grant.role)
    scope: account
    properties: {
      principalId: identities[i].properties.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
    }
  }
]

#disable-next-line use-recent-api-versions // the newest that knows category groups
resource accountDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: account
  properties: {
    workspaceId: context.workspaceId
    metrics: [{ category: 'Transaction', enabled: true }]
  }
}

#disable-next-line use-recent-api-versions // the newest that knows category groups
resource blobsDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: account::blobs
  properties: {
    workspaceId: context.workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'Transaction', enabled: true }]
  }
}

resource accountLock 'Microsoft.Authorization/locks@2020-05-01' = if (context.locked) {
  name: 'keep'
  scope: account
  properties: {
    level: 'CanNotDelete'
    notes: 'It holds what customers entrusted to us, or what proves how we treated it.'
  }
}
