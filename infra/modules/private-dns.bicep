metadata description = 'The private DNS zones of one network: they resolve the stores\' names to the IP addresses of that network\'s endpoints.'

import { resourceTags } from '../types.bicep'

@description('The zones.')
param zones string[]

@description('The id of the network that asks them.')
param networkId string

@description('The tags that every resource carries.')
param tags resourceTags

resource privateZones 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for zone in zones: {
    name: zone
    // Zones belong to no region; the service accepts only this word.
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (zone, i) in zones: {
    parent: privateZones[i]
    name: 'network'
    location: 'global'
    tags: tags
    properties: {
      virtualNetwork: { id: networkId }
      registrationEnabled: false
      // A tenant's storage account may have private endpoints of its own, elsewhere; its public IP address must
      // still be found. Our own stores have no public IP address, and the firewall lets none of them through.
      resolutionPolicy: 'NxDomainRedirect'
    }
  }
]
