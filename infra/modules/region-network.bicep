metadata description = 'The network of one region, with its zones and the way out of a small environment.'

import { contextPlan, operationsPlan, regionPlan, tierName } from '../types.bicep'

@description('The region and its address space.')
param region regionPlan

@description('What every resource of the environment carries and refers to.')
param context contextPlan

@description('full: through the firewall. small: through a NAT gateway.')
param tier tierName

@description('The private DNS zones.')
param zones string[]

@description('Where releases are shipped from.')
param operations operationsPlan

module egress 'egress-nat.bicep' = if (tier == 'small') {
  params: {
    region: region
    context: context
  }
}

module network 'network.bicep' = {
  params: {
    region: region
    context: context
    firewalled: tier == 'full'
    natGatewayId: egress.?outputs.id ?? ''
    operations: operations
  }
}

module names 'private-dns.bicep' = {
  params: {
    zones: zones
    networkId: network.outputs.id
    tags: context.tags
  }
}
