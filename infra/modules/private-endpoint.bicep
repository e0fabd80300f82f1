metadata description = 'One private endpoint, and its IP address in the private DNS zones.'

import { contextPlan, endpointPlan, regionPlan } from '../types.bicep'
import { localName } from '../names.bicep'

@description('The region of the network.')
param region regionPlan

@description('What every resource of the environment carries and refers to.')
param context contextPlan

@description('What is behind it.')
param endpoint endpointPlan

resource network 'Microsoft.Network/virtualNetworks@2026-03-01' existing = {
  name: localName('vnet', context.environment, region.code)

  resource subnet 'subnets' existing = {
    name: 'endpoints'
  }
}

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' existing = [
  for zone in endpoint.zones: {
    name: zone
  }
]

resource privateEndpoint 'Microsoft.Network/privateEndpoints@2026-03-01' = {
  name: localName('pe', context.environment, '${region.code}-${endpoint.name}')
  location: region.name
  tags: context.tags
  properties: {
    subnet: { id: network::subnet.id }
    customNetworkInterfaceName: localName('nic', context.environment, '${region.code}-${endpoint.name}')
    privateLinkServiceConnections: [
      {
        name: endpoint.name
        properties: {
          privateLinkServiceId: endpoint.target
          groupIds: [endpoint.group]
        }
      }
    ]
  }

  resource zoneGroup 'privateDnsZoneGroups' = {
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        for (zone, i) in endpoint.zones: {
          name: replace(zone, '.', '-')
          properties: { privateDnsZoneId: zones[i].id }
        }
      ]
    }
  }
}
