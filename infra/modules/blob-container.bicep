metadata description = 'One blob container. Its metadata names the environment, so that the app can see at run time where it is.'

import { containerPlan, contextPlan } from '../types.bicep'

@description('What every resource of the environment carries and refers to.')
param context contextPlan

@description('The name of the account.')
param accountName string

@description('The container and who may do what in it.')
param plan containerPlan

resource account 'Microsoft.Storage/storageAccounts@2026-06-01' existing = {
  name: accountName

  resource blobs 'blobServices' existing = {
    name: 'default'
  }
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-06-01' = {
  parent: account::blobs
  name: plan.name
  properties: {
    publicAccess: 'None'
    metadata: { environment: context.environment }
  }
}

resource identities 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = [
  for grant in plan.grants: {
    name: grant.identity
    scope: resourceGroup(context.identityGroup)
  }
]

resource containerGrants 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (grant, i) in plan.grants: {
    name: guid(container.id, identities[i].id, grant.role)
    scope: container
    properties: {
      principalId: identities[i].properties.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
    }
  }
]
