metadata description = 'What a deployment and a fail-over of the same environment have in common. Replace the examples: subscriptions, host names, networks, addresses.'

@export()
@description('Development: the same stores, small, and never the data of a customer.')
var development = {
  subscriptionId: '00000000-0000-4000-8000-000000000001'
  primary: { name: 'westeurope', code: 'weu', addressSpace: '10.10.0.0/20' }
  secondary: { name: 'northeurope', code: 'neu', addressSpace: '10.10.16.0/20' }
  capacity: {
    alwaysReadyHttp: 0
    maximumInstances: 40
    instanceMemoryMegabytes: 2048
    requestsPerInstance: 16
    recordsMaxThroughput: 1000
    keyProtection: 'hardware'
    busMessagingUnits: 0
    gatewayMinimumUnits: 0
    gatewayMaximumUnits: 2
    logDailyGigabytes: 1
  }
  edge: {
    apiHost: 'api.dev.strongroom.example'
    uploadHost: 'uploads.dev.strongroom.example'
    staffNetworks: ['203.0.113.0/28']
    targetHosts: []
    targetAccounts: []
    browserOrigins: []
    attestation: { witnessPolicy: '', timestampUrl: '', timestampRoots: '', hosts: [] }
    operations: { networkId: '', addressSpaces: [] }
  }
}

@export()
@description('Staging: the shape of production, where each release and each runbook is tried first.')
var staging = {
  subscriptionId: '00000000-0000-4000-8000-000000000002'
  primary: { name: 'westeurope', code: 'weu', addressSpace: '10.20.0.0/20' }
  secondary: { name: 'northeurope', code: 'neu', addressSpace: '10.20.16.0/20' }
  capacity: {
    alwaysReadyHttp: 0
    maximumInstances: 40
    instanceMemoryMegabytes: 2048
    requestsPerInstance: 16
    recordsMaxThroughput: 1000
    keyProtection: 'hardware'
    busMessagingUnits: 1
    gatewayMinimumUnits: 0
    gatewayMaximumUnits: 2
    logDailyGigabytes: 5
  }
  edge: {
    apiHost: 'api.staging.strongroom.example'
    uploadHost: 'uploads.staging.strongroom.example'
    staffNetworks: ['203.0.113.16/28']
    targetHosts: ['strongroom-staging-targets.s3.eu-central-1.amazonaws.com']
    targetAccounts: ['strongroomstagingtargets']
    browserOrigins: []
    attestation: { witnessPolicy: '', timestampUrl: '', timestampRoots: '', hosts: [] }
    operations: { networkId: '', addressSpaces: [] }
  }
}

@export()
@description('Production: the only environment that holds the data of customers.')
var production = {
  subscriptionId: '00000000-0000-4000-8000-000000000003'
  primary: { name: 'westeurope', code: 'weu', addressSpace: '10.30.0.0/20' }
  secondary: { name: 'northeurope', code: 'neu', addressSpace: '10.30.16.0/20' }
  capacity: {
    alwaysReadyHttp: 2
    maximumInstances: 100
    instanceMemoryMegabytes: 2048
    requestsPerInstance: 16
    recordsMaxThroughput: 10000
    keyProtection: 'hardware'
    busMessagingUnits: 1
    gatewayMinimumUnits: 2
    gatewayMaximumUnits: 10
    logDailyGigabytes: -1
  }
  edge: {
    apiHost: 'api.strongroom.example'
    uploadHost: 'uploads.strongroom.example'
    staffNetworks: ['203.0.113.32/28']
    targetHosts: ['example-tenant-backups.s3.eu-central-1.amazonaws.com', 'storage.googleapis.com']
    targetAccounts: ['exampletenantbackups']
    browserOrigins: []
    attestation: { witnessPolicy: '', timestampUrl: '', timestampRoots: '', hosts: [] }
    operations: { networkId: '', addressSpaces: [] }
  }
}
