targetScope = 'subscription'

metadata description = 'What is watched for the subscription as a whole: every administrative act, kept where no one can change it, and what it costs.'

import { environmentName, watchPlan } from '../types.bicep'

@description('Which environment this is.')
param environment environmentName

@description('Who is told, and from when the budget counts.')
param watch watchPlan

@description('The id of the workspace.')
param workspaceId string

@description('The id of the account that keeps the archive.')
param archiveId string

#disable-next-line use-recent-api-versions // the newest that knows a workspace and an archive in one setting
resource activityLog 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace-and-archive'
  properties: {
    workspaceId: workspaceId
    storageAccountId: archiveId
    logs: [
      for category in [
        'Administrative'
        'Security'
        'ServiceHealth'
        'Alert'
        'Recommendation'
        'Policy'
        'Autoscale'
        'ResourceHealth'
      ]: { category: category, enabled: true }
    ]
  }
}

resource budget 'Microsoft.Consumption/budgets@2026-06-01' = {
  name: 'strongroom-${environment}'
  properties: {
    category: 'Cost'
    amount: watch.monthlyBudget
    timeGrain: 'Monthly'
    timePeriod: { startDate: watch.budgetStart }
    notifications: {
      mostIsSpent: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 80
        thresholdType: 'Actual'
        contactEmails: [watch.alertAddress]
      }
      moreWillBeSpent: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 100
        thresholdType: 'Forecasted'
        contactEmails: [watch.alertAddress]
      }
    }
  }
}

resource defender 'Microsoft.Security/pricings@2026-07-01' = [
  for plan in watch.defenderPlans: {
    name: plan
    properties: { pricingTier: 'Standard' }
  }
]
