metadata description = 'Tells people when someone changes who may do what, unlocks a store, or stops the logs.'

import { contextPlan } from '../types.bicep'

@description('What every resource of the environment carries and refers to.')
param context contextPlan

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
          anyOf: [
            { field: 'operationName', equals: 'Microsoft.Authorization/roleAssignments/write' }
            { field: 'operationName', equals: 'Microsoft.Authorization/roleAssignments/delete' }
            { field: 'operationName', equals: 'Microsoft.Authorization/locks/delete' }
            { field: 'operationName', equals: 'Microsoft.Authorization/policyAssignments/delete' }
            { field: 'operationName', equals: 'Microsoft.Insights/diagnosticSettings/delete' }
          ]
        }
      ]
    }
    actions: { actionGroups: [{ actionGroupId: context.peopleId }] }
  }
}
