metadata description = 'Alerts on metrics and on logs; docs/operations.md has a section for each, by its name.'

import { contextPlan, logAlertPlan, metricAlertPlan } from '../types.bicep'

@description('The region of the workspace.')
param location string

@description('What every resource of the environment carries and refers to.')
param context contextPlan

@description('Alerts on metrics.')
param metricAlerts metricAlertPlan[]

@description('Alerts on logs.')
param logAlerts logAlertPlan[]

resource onMetrics 'Microsoft.Insights/metricAlerts@2026-01-01' = [
  for alert in metricAlerts: {
    name: alert.name
    location: 'global'
    tags: context.tags
    properties: {
      enabled: true
      severity: alert.severity
      scopes: [alert.target]
      evaluationFrequency: 'PT5M'
      windowSize: 'PT15M'
      autoMitigate: true
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            criterionType: 'StaticThresholdCriterion'
            name: alert.name
            metricNamespace: alert.namespace
            metricName: alert.metric
            timeAggregation: alert.aggregation
            operator: 'GreaterThan'
            threshold: alert.threshold
            dimensions: empty(alert.dimension)
              ? []
              : [{ name: alert.dimension, operator: 'Include', values: alert.values }]
            // The metric may not exist before the first request; the alert must, all the same.
            skipMetricValidation: true
          }
        ]
      }
      actions: [{ actionGroupId: context.actionGroupId }]
    }
  }
]

resource onLogs 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [
  for alert in logAlerts: {
    name: alert.name
    location: location
    tags: context.tags
    kind: 'LogAlert'
    properties: {
      enabled: true
      severity: alert.severity
      scopes: [context.workspaceId]
      evaluationFrequency: alert.every
      windowSize: alert.every
      autoMitigate: false
      // Azure makes the tables when the first line arrives; the alert must be there before it.
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: alert.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: alert.threshold
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      actions: { actionGroups: [context.actionGroupId] }
    }
  }
]
