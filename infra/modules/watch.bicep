metadata description = 'Where logs and metrics go: one workspace and one Application Insights, reachable only through a private link scope, and the action group that alerts notify.'

import { environmentName, grant, resourceTags, retentionPlan, watchPlan } from '../types.bicep'
import { localName } from '../names.bicep'

@description('The region.')
param location string

@description('Which environment this is.')
param environment environmentName

@description('The tags that every resource carries.')
param tags resourceTags

@description('How long logs are kept.')
param retention retentionPlan

@description('Who is told.')
param watch watchPlan

@description('The most that the workspace takes in a day, GB; -1: no limit.')
param dailyGigabytes int

@description('Who may send telemetry.')
param grants grant[]

@description('The name of the resource group that holds the identities.')
param identityGroup string

resource workspace 'Microsoft.OperationalInsights/workspaces@2026-03-01' = {
  name: localName('log', environment, 'watch')
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: retention.logDays
    workspaceCapping: { dailyQuotaGb: dailyGigabytes }
    publicNetworkAccessForIngestion: 'Disabled'
    publicNetworkAccessForQuery: 'Disabled'
    features: {
      disableLocalAuth: true
      enableLogAccessUsingOnlyResourcePermissions: true
    }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: localName('appi', environment, 'watch')
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    IngestionMode: 'LogAnalytics'
    DisableLocalAuth: true
    publicNetworkAccessForIngestion: 'Disabled'
    publicNetworkAccessForQuery: 'Disabled'
  }
}

resource linkScope 'Microsoft.Insights/privateLinkScopes@2021-09-01' = {
  name: localName('ampls', environment, 'watch')
  // A link scope belongs to no region; the service accepts only this word.
  location: 'global'
  tags: tags
  properties: {
    accessModeSettings: {
      ingestionAccessMode: 'PrivateOnly'
      queryAccessMode: 'PrivateOnly'
    }
  }
}

resource linkedWorkspace 'Microsoft.Insights/privateLinkScopes/scopedResources@2021-09-01' = {
  parent: linkScope
  name: 'workspace'
  properties: { linkedResourceId: workspace.id }
}

resource linkedInsights 'Microsoft.Insights/privateLinkScopes/scopedResources@2021-09-01' = {
  parent: linkScope
  name: 'insights'
  properties: { linkedResourceId: insights.id }
}

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: localName('ag', environment, 'watch')
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'strongroom'
    enabled: true
    emailReceivers: [
      {
        name: 'operations'
        emailAddress: watch.alertAddress
        useCommonAlertSchema: true
      }
    ]
  }
}

resource identities 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = [
  for grant in grants: {
    name: grant.identity
    scope: resourceGroup(identityGroup)
  }
]

resource telemetryGrants 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (grant, i) in grants: {
    name: guid(insights.id, identities[i].id, grant.role)
    scope: insights
    properties: {
      principalId: identities[i].properties.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
    }
  }
]

#disable-next-line use-recent-api-versions // the newest that knows category groups
resource workspaceDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: workspace
  properties: {
    workspaceId: workspace.id
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}
