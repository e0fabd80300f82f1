metadata description = 'Sends an alert when someone changes who may do what, unlocks a store, loosens a policy, changes the app, or stops the logs.'

import { contextPlan } from '../types.bicep'

@description('What every resource of the environment carries and refers to.')
param context contextPlan

@description('What is told.')
var operations = [
  'Microsoft.Authorization/roleAssignments/write'
  'Microsoft.Authorization/roleAssignments/delete'
  'Microsoft.Authorization/roleDefinitions/write'
  'Microsoft.Authorization/locks/delete'
  'Microsoft.Authorization/policyAssignments/write'
  'Microsoft.Authorization/policyAssignments/delete'
  'Microsoft.Authorization/policyDefinitions/write'
  'Microsoft.Authorization/policyExemptions/write'
  'Microsoft.Insights/diagnosticSettings/write'
  'Microsoft.Insights/diagnosticSettings/delete'
  'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write'
  'Microsoft.Web/sites/write'
  'Microsoft.Web/sites/config/write'
]

resource changes 'Microsoft.Insights/activityLogAlerts@2026-01-01' = {
  name: 'administration'
  location: 'global'
  tags: context.tags
  properties: {
    enabled: true
    scopes: [subscription().id]
    condition: {
      allOf: [
        { field: 'category', equals: 'Administrative' }
        { field: 'status', equals: 'Succeeded' }
        {
          anyOf: [for operation in operations: { field: 'operationName', equals: operation }]
        }
      ]
    }
    actions: { actionGroups: [{ actionGroupId: context.actionGroupId }] }
  }
}
