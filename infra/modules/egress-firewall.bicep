metadata description = 'The way out of a full environment: a firewall that lets through only the names on a list, and lets nothing in.'

import { contextPlan, regionPlan } from '../types.bicep'
import { localName } from '../names.bicep'

@description('The region of the network.')
param region regionPlan

@description('What every resource of the environment carries and refers to.')
param context contextPlan

@description('The host names of the storage that tenants own.')
@minLength(1)
param targetHosts string[]

@description('The host names of witnesses and of the time stamp authority.')
param attestationHosts string[]

@description('The host that gives identities their tokens.')
var signInHost = replace(replace(az.environment().authentication.loginEndpoint, 'https://', ''), '/', '')

resource policy 'Microsoft.Network/firewallPolicies@2026-03-01' = {
  name: localName('afwp', context.environment, region.code)
  location: region.name
  tags: context.tags
  properties: {
    sku: { tier: 'Premium' }
    threatIntelMode: 'Deny'
    intrusionDetection: { mode: 'Deny' }
  }

  resource rules 'ruleCollectionGroups' = {
    name: 'allow-list'
    properties: {
      priority: 100
      ruleCollections: [
        {
          name: 'platform'
          ruleCollectionType: 'FirewallPolicyFilterRuleCollection'
          priority: 100
          action: { type: 'Allow' }
          rules: [
            {
              name: 'sign-in'
              ruleType: 'ApplicationRule'
              sourceAddresses: [region.addressSpace]
              protocols: [{ protocolType: 'Https', port: 443 }]
              targetFqdns: [signInHost, '*.identity.azure.net']
            }
            {
              // The host asks there for its extensions when it starts, and fails without a response.
              name: 'extensions-of-the-host'
              ruleType: 'ApplicationRule'
              sourceAddresses: [region.addressSpace]
              protocols: [{ protocolType: 'Https', port: 443 }]
              targetFqdns: ['cdn.functions.azure.com']
            }
          ]
        }
        {
          name: 'targets'
          ruleCollectionType: 'FirewallPolicyFilterRuleCollection'
          priority: 200
          action: { type: 'Allow' }
          rules: concat(
            [
              {
                name: 'storage-of-tenants'
                ruleType: 'ApplicationRule'
                sourceAddresses: [region.addressSpace]
                protocols: [{ protocolType: 'Https', port: 443 }]
                targetFqdns: targetHosts
              }
            ],
            // A rule without names is refused.
            empty(attestationHosts)
              ? []
              : [
                  {
                    name: 'witnesses-and-time-stamps'
                    ruleType: 'ApplicationRule'
                    sourceAddresses: [region.addressSpace]
                    protocols: [{ protocolType: 'Https', port: 443 }]
                    targetFqdns: attestationHosts
                  }
                ]
          )
        }
      ]
    }
  }
}

resource address 'Microsoft.Network/publicIPAddresses@2026-03-01' = {
  name: localName('pip', context.environment, '${region.code}-egress')
  location: region.name
  tags: context.tags
  sku: { name: 'Standard' }
  zones: ['1', '2', '3']
  properties: { publicIPAllocationMethod: 'Static' }
}

resource network 'Microsoft.Network/virtualNetworks@2026-03-01' existing = {
  name: localName('vnet', context.environment, region.code)

  resource subnet 'subnets' existing = {
    name: 'AzureFirewallSubnet'
  }
}

resource firewall 'Microsoft.Network/azureFirewalls@2026-03-01' = {
  name: localName('afw', context.environment, region.code)
  location: region.name
  tags: context.tags
  zones: ['1', '2', '3']
  properties: {
    sku: { name: 'AZFW_VNet', tier: 'Premium' }
    threatIntelMode: 'Deny'
    firewallPolicy: { id: policy.id }
    ipConfigurations: [
      {
        name: 'egress'
        properties: {
          subnet: { id: network::subnet.id }
          publicIPAddress: { id: address.id }
        }
      }
    ]
  }
  dependsOn: [policy::rules]
}

#disable-next-line use-recent-api-versions // the newest that knows category groups
resource addressDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: address
  properties: {
    workspaceId: context.workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

#disable-next-line use-recent-api-versions // the newest that knows category groups
resource firewallDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: firewall
  properties: {
    workspaceId: context.workspaceId
    logAnalyticsDestinationType: 'Dedicated'
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}
