targetScope = 'subscription'

metadata description = 'What keeps it so: Azure itself refuses what these rules forbid, whoever asks.'

@description('The regions in which anything may exist.')
param regions string[]

@description('Whether bus and app may have public addresses, as those of a small environment have.')
param small bool

@description('The types that must send their logs to the workspace.')
var logged = [
  'Microsoft.Storage/storageAccounts/blobServices'
  'Microsoft.KeyVault/vaults'
  'Microsoft.DocumentDB/databaseAccounts'
  'Microsoft.ServiceBus/namespaces'
  'Microsoft.Web/sites'
  'Microsoft.Network/applicationGateways'
  'Microsoft.Network/azureFirewalls'
]

resource noPublicStores 'Microsoft.Authorization/policyDefinitions@2026-07-01' = {
  name: 'strongroom-no-public-stores'
  properties: {
    displayName: 'Strongroom: no store has a public address, nor has the app where a gateway is'
    policyType: 'Custom'
    mode: 'All'
    parameters: { exempt: { type: 'Array' } }
    policyRule: {
      if: {
        anyOf: [
          {
            allOf: [
              { field: 'type', equals: 'Microsoft.Storage/storageAccounts' }
              { field: 'Microsoft.Storage/storageAccounts/publicNetworkAccess', notEquals: 'Disabled' }
            ]
          }
          {
            allOf: [
              { field: 'type', equals: 'Microsoft.KeyVault/vaults' }
              { field: 'Microsoft.KeyVault/vaults/publicNetworkAccess', notEquals: 'Disabled' }
            ]
          }
          {
            allOf: [
              { field: 'type', equals: 'Microsoft.DocumentDB/databaseAccounts' }
              { field: 'Microsoft.DocumentDB/databaseAccounts/publicNetworkAccess', notEquals: 'Disabled' }
            ]
          }
          {
            allOf: [
              { field: 'type', equals: 'Microsoft.ServiceBus/namespaces' }
              { field: 'type', notIn: '[parameters(\'exempt\')]' }
              { field: 'Microsoft.ServiceBus/namespaces/publicNetworkAccess', notEquals: 'Disabled' }
            ]
          }
          {
            allOf: [
              { field: 'type', equals: 'Microsoft.Web/sites' }
              { field: 'type', notIn: '[parameters(\'exempt\')]' }
              { field: 'Microsoft.Web/sites/publicNetworkAccess', notEquals: 'Disabled' }
            ]
          }
        ]
      }
      then: { effect: 'deny' }
    }
  }
}

resource onlyOurRegions 'Microsoft.Authorization/policyDefinitions@2026-07-01' = {
  name: 'strongroom-only-our-regions'
  properties: {
    displayName: 'Strongroom: only in the two regions of the environment'
    policyType: 'Custom'
    mode: 'Indexed'
    parameters: { regions: { type: 'Array' } }
    policyRule: {
      if: {
        allOf: [
          { field: 'location', notIn: '[parameters(\'regions\')]' }
          { field: 'location', notEquals: 'global' }
        ]
      }
      then: { effect: 'deny' }
    }
  }
}

resource modernTls 'Microsoft.Authorization/policyDefinitions@2026-07-01' = {
  name: 'strongroom-modern-tls'
  properties: {
    displayName: 'Strongroom: TLS 1.2 or later, HTTPS only, no account keys'
    policyType: 'Custom'
    mode: 'All'
    policyRule: {
      if: {
        anyOf: [
          {
            allOf: [
              { field: 'type', equals: 'Microsoft.Storage/storageAccounts' }
              {
                anyOf: [
                  { field: 'Microsoft.Storage/storageAccounts/minimumTlsVersion', notIn: ['TLS1_2', 'TLS1_3'] }
                  { field: 'Microsoft.Storage/storageAccounts/supportsHttpsTrafficOnly', notEquals: true }
                  { field: 'Microsoft.Storage/storageAccounts/allowSharedKeyAccess', notEquals: false }
                ]
              }
            ]
          }
          {
            allOf: [
              { field: 'type', equals: 'Microsoft.ServiceBus/namespaces' }
              {
                anyOf: [
                  { field: 'Microsoft.ServiceBus/namespaces/minimumTlsVersion', notEquals: '1.2' }
                  { field: 'Microsoft.ServiceBus/namespaces/disableLocalAuth', notEquals: true }
                ]
              }
            ]
          }
          {
            allOf: [
              { field: 'type', equals: 'Microsoft.DocumentDB/databaseAccounts' }
              { field: 'Microsoft.DocumentDB/databaseAccounts/disableLocalAuth', notEquals: true }
            ]
          }
          {
            allOf: [
              { field: 'type', equals: 'Microsoft.Web/sites' }
              { field: 'Microsoft.Web/sites/httpsOnly', notEquals: true }
            ]
          }
        ]
      }
      then: { effect: 'deny' }
    }
  }
}

resource everythingLogged 'Microsoft.Authorization/policyDefinitions@2026-07-01' = {
  name: 'strongroom-everything-logged'
  properties: {
    displayName: 'Strongroom: what holds or carries data sends its logs to the workspace'
    policyType: 'Custom'
    mode: 'All'
    parameters: { types: { type: 'Array' } }
    policyRule: {
      if: { field: 'type', in: '[parameters(\'types\')]' }
      then: {
        // A setting can only be made after what it belongs to, so this reports and does not refuse.
        effect: 'auditIfNotExists'
        details: { type: 'Microsoft.Insights/diagnosticSettings' }
      }
    }
  }
}

@description('The assignments, with the values of their parameters. Rules hold no expression of the template, which Azure would take for one of the policy.')
var assigned = {
  'no-public-stores': { exempt: { value: small ? ['Microsoft.ServiceBus/namespaces', 'Microsoft.Web/sites'] : [] } }
  'only-our-regions': { regions: { value: regions } }
  'modern-tls': {}
  'everything-logged': { types: { value: logged } }
}

resource assignments 'Microsoft.Authorization/policyAssignments@2026-07-01' = [
  for rule in items(assigned): {
    name: rule.key
    properties: {
      policyDefinitionId: subscriptionResourceId('Microsoft.Authorization/policyDefinitions', 'strongroom-${rule.key}')
      parameters: rule.value
      enforcementMode: 'Default'
    }
    dependsOn: [noPublicStores, onlyOurRegions, modernTls, everythingLogged]
  }
]
