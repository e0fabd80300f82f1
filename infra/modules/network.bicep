metadata description = 'The virtual network of one region: a subnet a purpose, each behind its own security group that says who may speak to whom.'

import { contextPlan, operationsPlan, regionPlan } from '../types.bicep'
import { localName } from '../names.bicep'

@description('The region and its address space.')
param region regionPlan

@description('What every resource of the environment carries and refers to.')
param context contextPlan

@description('Whether traffic to the outside goes through the firewall.')
param firewalled bool

@description('The id of the NAT gateway; empty: none.')
param natGatewayId string

@description('Where releases are shipped from.')
param operations operationsPlan

@description('Where each subnet lies in the address space.')
var subnets = {
  gateway: cidrSubnet(region.addressSpace, 24, 0)
  firewall: cidrSubnet(region.addressSpace, 26, 4)
  application: cidrSubnet(region.addressSpace, 24, 2)
  endpoints: cidrSubnet(region.addressSpace, 24, 3)
}

@description('Azure gives a firewall the first address of its subnet that it does not keep for itself: the fourth host.')
var firewallAddress = cidrHost(subnets.firewall, 3)

@description('The last rule of every group.')
var closed = {
  name: 'nothing-else-comes-in'
  properties: {
    priority: 4096
    direction: 'Inbound'
    access: 'Deny'
    protocol: '*'
    sourceAddressPrefix: '*'
    sourcePortRange: '*'
    destinationAddressPrefix: '*'
    destinationPortRange: '*'
  }
}

@description('A small environment has no endpoint for its bus: the app speaks AMQP to the public address of a shared one.')
var toTheSharedBus = {
  name: 'to-the-shared-bus'
  properties: {
    priority: 120
    direction: 'Outbound'
    access: 'Allow'
    protocol: 'Tcp'
    sourceAddressPrefix: subnets.application
    sourcePortRange: '*'
    destinationAddressPrefix: 'ServiceBus'
    destinationPortRange: '5671'
  }
}

resource gatewayRules 'Microsoft.Network/networkSecurityGroups@2026-03-01' = {
  name: localName('nsg', context.environment, '${region.code}-gateway')
  location: region.name
  tags: context.tags
  properties: {
    securityRules: [
      {
        // Lower numbers are free, for networks that an engineer blocks.
        name: 'clients'
        properties: {
          priority: 200
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'Internet'
          sourcePortRange: '*'
          destinationAddressPrefix: subnets.gateway
          destinationPortRange: '443'
        }
      }
      {
        // The response is a redirect to HTTPS and nothing else.
        name: 'redirect'
        properties: {
          priority: 210
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'Internet'
          sourcePortRange: '*'
          destinationAddressPrefix: subnets.gateway
          destinationPortRange: '80'
        }
      }
      {
        // The platform runs the gateway through these ports, and refuses to create it without the rule.
        name: 'gateway-manager'
        properties: {
          priority: 220
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'GatewayManager'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '65200-65535'
        }
      }
      {
        name: 'platform-probes'
        properties: {
          priority: 230
          direction: 'Inbound'
          access: 'Allow'
          protocol: '*'
          sourceAddressPrefix: 'AzureLoadBalancer'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
      closed
    ]
  }
}

resource applicationRules 'Microsoft.Network/networkSecurityGroups@2026-03-01' = {
  name: localName('nsg', context.environment, '${region.code}-application')
  location: region.name
  tags: context.tags
  properties: {
    securityRules: [
      {
        name: 'to-the-stores'
        properties: {
          priority: 100
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: subnets.application
          sourcePortRange: '*'
          destinationAddressPrefix: subnets.endpoints
          destinationPortRanges: ['443', '5671']
        }
      }
      {
        // Further checked by name where there is a firewall.
        name: 'to-the-outside'
        properties: {
          priority: 110
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: subnets.application
          sourcePortRange: '*'
          destinationAddressPrefix: 'Internet'
          destinationPortRange: '443'
        }
      }
      ...(firewalled ? [] : [toTheSharedBus])
      {
        name: 'nothing-else-goes-out'
        properties: {
          priority: 4096
          direction: 'Outbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
      closed
    ]
  }
}

resource endpointRules 'Microsoft.Network/networkSecurityGroups@2026-03-01' = {
  name: localName('nsg', context.environment, '${region.code}-endpoints')
  location: region.name
  tags: context.tags
  properties: {
    securityRules: [
      {
        name: 'from-inside'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefixes: concat([subnets.application, subnets.gateway], operations.addressSpaces)
          sourcePortRange: '*'
          destinationAddressPrefix: subnets.endpoints
          destinationPortRanges: ['443', '5671']
        }
      }
      closed
    ]
  }
}

resource routes 'Microsoft.Network/routeTables@2026-03-01' = if (firewalled) {
  name: localName('rt', context.environment, region.code)
  location: region.name
  tags: context.tags
  properties: {
    disableBgpRoutePropagation: true
    routes: [
      {
        name: 'through-the-firewall'
        properties: {
          addressPrefix: '0.0.0.0/0'
          nextHopType: 'VirtualAppliance'
          nextHopIpAddress: firewallAddress
        }
      }
    ]
  }
}

@description('How a subnet that may reach the outside does so.')
var toTheOutside = firewalled
  ? { routeTable: { id: routes.id } }
  : empty(natGatewayId) ? {} : { natGateway: { id: natGatewayId } }

resource network 'Microsoft.Network/virtualNetworks@2026-03-01' = {
  name: localName('vnet', context.environment, region.code)
  location: region.name
  tags: context.tags
  properties: {
    addressSpace: { addressPrefixes: [region.addressSpace] }
    // In one list, because a network that is deployed again loses the subnets that its list does not name.
    subnets: [
      {
        name: 'gateway'
        properties: {
          addressPrefix: subnets.gateway
          networkSecurityGroup: { id: gatewayRules.id }
          defaultOutboundAccess: false
        }
      }
      {
        name: 'AzureFirewallSubnet'
        properties: {
          addressPrefix: subnets.firewall
          defaultOutboundAccess: false
        }
      }
      {
        name: 'application'
        properties: {
          addressPrefix: subnets.application
          networkSecurityGroup: { id: applicationRules.id }
          defaultOutboundAccess: false
          delegations: [
            {
              name: 'flex-consumption'
              properties: { serviceName: 'Microsoft.App/environments' }
            }
          ]
          ...toTheOutside
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: subnets.endpoints
          networkSecurityGroup: { id: endpointRules.id }
          defaultOutboundAccess: false
          // Without this the security group would not apply to private endpoints.
          privateEndpointNetworkPolicies: 'Enabled'
        }
      }
    ]
  }

  // The other half of the peering is made in the network of operations.
  resource peering 'virtualNetworkPeerings' = if (!empty(operations.networkId)) {
    name: 'operations'
    properties: {
      remoteVirtualNetwork: { id: operations.networkId }
      allowVirtualNetworkAccess: true
      allowForwardedTraffic: false
      allowGatewayTransit: false
      useRemoteGateways: false
    }
  }
}

#disable-next-line use-recent-api-versions // the newest that knows category groups
resource gatewayRulesDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: gatewayRules
  properties: {
    workspaceId: context.workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
  }
}

#disable-next-line use-recent-api-versions // the newest that knows category groups
resource applicationRulesDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: applicationRules
  properties: {
    workspaceId: context.workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
  }
}

#disable-next-line use-recent-api-versions // the newest that knows category groups
resource endpointRulesDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: endpointRules
  properties: {
    workspaceId: context.workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
  }
}

#disable-next-line use-recent-api-versions // the newest that knows category groups
resource networkDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: network
  properties: {
    workspaceId: context.workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

@description('The id of the network.')
output id string = network.id
