metadata description = 'The function app: Flex Consumption inside the network, one identity, no key and no password of any kind.'

import { capacityPlan, contextPlan, edgePlan, grant, regionPlan, tierName } from '../types.bicep'
import { localName } from '../names.bicep'

@description('The region.')
param region regionPlan

@description('What every resource of the environment carries and refers to.')
param context contextPlan

@description('Its name.')
param name string

@description('full: reachable only through the gateway. small: reachable at its own URL from the networks of employees.')
param tier tierName

@description('How many instances, and how large.')
param capacity capacityPlan

@description('The networks of employees.')
param edge edgePlan

@description('The name of the identity that the app is.')
param identityName string

@description('The name of the account that holds the host\'s own state and the package.')
param hostAccount string

@description('The name of the Application Insights component.')
param insightsName string

@description('The namespace of the bus, as a host name.')
param busHost string

@description('What shared/wiring/settings.py reads: names with their prefix, and values.')
param settings settingValues

@description('Who may deploy to it.')
param grants grant[]

@description('Settings of the app: a name and a text each.')
type settingValues = {
  @description('A name with the prefix STRONGROOM_, and its value.')
  *: string
}

@description('Whether clients come through the gateway.')
var behindGateway = tier == 'full'

@description('The networks of employees, as the app\'s own access rules.')
var staffRules = map(edge.staffNetworks, (network, i) => {
  name: 'staff-${i}'
  priority: 100 + i
  action: 'Allow'
  ipAddress: network
})

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
  scope: resourceGroup(context.identityGroup)
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
  scope: resourceGroup(context.identityGroup)
}

resource network 'Microsoft.Network/virtualNetworks@2026-03-01' existing = {
  name: localName('vnet', context.environment, region.code)

  resource subnet 'subnets' existing = {
    name: 'application'
  }
}

@description('Every app setting: ours, and what the host and the SDKs read.')
var appSettings = {
  ...settings
  // Read by the host and by the SDKs, not by shared/wiring/settings.py.
  APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'Authorization=AAD;ClientId=${identity.properties.clientId}'
  AZURE_CLIENT_ID: identity.properties.clientId
  AZURE_TOKEN_CREDENTIALS: 'prod'
  AzureWebJobsStorage__accountName: hostAccount
  AzureWebJobsStorage__clientId: identity.properties.clientId
  AzureWebJobsStorage__credential: 'managedidentity'
  // A little above the app's own limit, so that the app sends its own clear error.
  FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: string(int(settings.STRONGROOM_MAX_DIRECT_UPLOAD_BYTES) + 1048576)
  PYTHON_ENABLE_INIT_INDEXING: '1'
  ServiceBus__clientId: identity.properties.clientId
  ServiceBus__credential: 'managedidentity'
  ServiceBus__fullyQualifiedNamespace: busHost
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: localName('asp', context.environment, region.code)
  location: region.name
  tags: context.tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: {
    reserved: true
    zoneRedundant: behindGateway
  }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: region.name
  // azd finds the service that azure.yaml names by this tag.
  tags: { ...context.tags, 'azd-service-name': 'api' }
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identity.id}': {} }
  }
  properties: {
    serverFarmId: plan.id
    reserved: true
    httpsOnly: true
    publicNetworkAccess: behindGateway ? 'Disabled' : 'Enabled'
    // In this plan all that the app sends goes through the network; there is no setting for it.
    virtualNetworkSubnetId: network::subnet.id
    clientAffinityEnabled: false
    functionAppConfig: {
      runtime: { name: 'python', version: '3.12' }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: 'https://${hostAccount}.blob.${az.environment().suffixes.storage}/deployments'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identity.id
          }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: capacity.instanceMemoryMegabytes
        maximumInstanceCount: capacity.maximumInstances
        alwaysReady: capacity.alwaysReadyHttp == 0 ? [] : [{ name: 'http', instanceCount: capacity.alwaysReadyHttp }]
        triggers: {
          http: { perInstanceConcurrency: capacity.requestsPerInstance }
        }
      }
    }
    siteConfig: {
      appSettings: map(items(appSettings), setting => { name: setting.key, value: setting.value })
      healthCheckPath: '/api/v1/health'
      httpLoggingEnabled: true
      detailedErrorLoggingEnabled: true
      requestTracingEnabled: true
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      http20Enabled: true
      ftpsState: 'Disabled'
      remoteDebuggingEnabled: false
      ipSecurityRestrictionsDefaultAction: 'Deny'
      scmIpSecurityRestrictionsDefaultAction: 'Deny'
      scmIpSecurityRestrictionsUseMain: true
      ipSecurityRestrictions: behindGateway ? [] : staffRules
    }
  }

  resource noFtpPassword 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: { allow: false }
  }

  resource noScmPassword 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: { allow: false }
  }
}

resource identities 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = [
  for grant in grants: {
    name: grant.identity
    scope: resourceGroup(context.identityGroup)
  }
]

resource shipGrants 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (grant, i) in grants: {
    name: guid(app.id, identities[i].id, grant.role)
    scope: app
    properties: {
      principalId: identities[i].properties.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
    }
  }
]

#disable-next-line use-recent-api-versions // the newest that knows category groups
resource planDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: plan
  properties: {
    workspaceId: context.workspaceId
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

#disable-next-line use-recent-api-versions // the newest that knows category groups
resource appDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: app
  properties: {
    workspaceId: context.workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}
