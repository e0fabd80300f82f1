metadata description = 'The way out of a small environment: one IP address, any name.'

import { contextPlan, regionPlan } from '../types.bicep'
import { localName } from '../names.bicep'

@description('The region of the network.')
param region regionPlan

@description('What every resource of the environment carries and refers to.')
param context contextPlan

resource address 'Microsoft.Network/publicIPAddresses@2026-03-01' = {
  name: localName('pip', context.environment, '${region.code}-egress')
  location: region.name
  tags: context.tags
  sku: { name: 'Standard' }
  properties: { publicIPAllocationMethod: 'Static' }
}

resource gateway 'Microsoft.Network/natGateways@2026-03-01' = {
  name: localName('ng', context.environment, region.code)
  location: region.name
  tags: context.tags
  sku: { name: 'Standard' }
  properties: {
    publicIpAddresses: [{ id: address.id }]
    idleTimeoutInMinutes: 4
  }
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

@description('The id of the NAT gateway.')
output id string = gateway.id
