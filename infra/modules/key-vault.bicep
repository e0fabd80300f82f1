metadata description = 'A Key Vault of HSM keys: private, role-based, and what is deleted from it can be brought back until its time is over.'

import { contextPlan, grant } from '../types.bicep'

@description('The region.')
param location string

@description('What every resource of the environment carries and refers to.')
param context contextPlan

@description('Its name.')
@minLength(3)
@maxLength(24)
param name string

@description('Days for which a deleted key can be brought back, and no one can purge it.')
@minValue(7)
@maxValue(90)
param recoveryDays int

@description('Whether services of the platform, such as storage accounts, use its keys.')
param platformReads bool

@description('Who may do what in it.')
param grants grant[]

resource vault 'Microsoft.KeyVault/vaults@2026-05-15' = {
  name: name
  location: location
  tags: context.tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'premium' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    enablePurgeProtection: true
    softDeleteRetentionInDays: recoveryDays
    enabledForDeployment: false
    enabledForDiskEncryption: false
    enabledForTemplateDeployment: false
    publicNetworkAccess: 'Disabled'
    networkAcls: {
      defaultAction: 'Deny'
      bypass: platformReads ? 'AzureServices' : 'None'
    }
  }
}

resource identities 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = [
  for grant in grants: {
    name: grant.identity
    scope: resourceGroup(context.identityGroup)
  }
]

resource vaultGrants 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (grant, i) in grants: {
    name: guid(vault.id, identities[i].id, grant.role)
    scope: vault
    properties: {
      principalId: identities[i].properties.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
    }
  }
]

#disable-next-line use-recent-api-versions // the newest that knows category groups
resource vaultDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: vault
  properties: {
    workspaceId: context.workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

resource vaultLock 'Microsoft.Authorization/locks@2020-05-01' = if (context.locked) {
  name: 'keep'
  scope: vault
  properties: {
    level: 'CanNotDelete'
    notes: 'Without these keys every document is lost.'
  }
}
