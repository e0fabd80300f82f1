metadata description = 'One topic with its subscriptions, and who may use it.'

import { contextPlan, grant, topicPlan } from '../types.bicep'

@description('What every resource of the environment carries and refers to.')
param context contextPlan

@description('The name of the namespace.')
param namespaceName string

@description('The topic and who listens to it.')
param topic topicPlan

@description('Who may send to it and receive from its subscriptions.')
param grants grant[]

resource namespace 'Microsoft.ServiceBus/namespaces@2026-01-01' existing = {
  name: namespaceName
}

resource events 'Microsoft.ServiceBus/namespaces/topics@2026-01-01' = {
  parent: namespace
  name: topic.name
  properties: {
    requiresDuplicateDetection: true
    duplicateDetectionHistoryTimeWindow: 'PT${topic.duplicateDetectionMinutes}M'
    enablePartitioning: false
    supportOrdering: true
  }
}

resource subscriptions 'Microsoft.ServiceBus/namespaces/topics/subscriptions@2026-01-01' = [
  for subscription in topic.subscriptions: {
    parent: events
    name: subscription.name
    properties: {
      requiresSession: subscription.sessions
      lockDuration: 'PT${subscription.lockSeconds}S'
      maxDeliveryCount: subscription.maxDeliveryCount
      // An event that could not be filtered or delivered must be seen by an employee, never dropped.
      deadLetteringOnFilterEvaluationExceptions: true
      deadLetteringOnMessageExpiration: true
    }
  }
]

resource filters 'Microsoft.ServiceBus/namespaces/topics/subscriptions/rules@2026-01-01' = [
  for (subscription, i) in topic.subscriptions: {
    parent: subscriptions[i]
    // Replaces the rule that Azure makes by itself, which would let everything in. A dead letter that is
    // replayed goes to one subscription alone, also one that gets nothing new of its type any more.
    name: '$Default'
    properties: {
      filterType: 'SqlFilter'
      sqlFilter: {
        sqlExpression: '(replay_to IS NULL AND type IN (\'${join(subscription.types, '\', \'')}\')) OR replay_to = \'${subscription.name}\''
      }
    }
  }
]

resource identities 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = [
  for grant in grants: {
    name: grant.identity
    scope: resourceGroup(context.identityGroup)
  }
]

resource topicGrants 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (grant, i) in grants: {
    name: guid(events.id, identities[i].id, grant.role)
    scope: events
    properties: {
      principalId: identities[i].properties.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
    }
  }
]
