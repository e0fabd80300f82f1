metadata description = 'What the gateway lets through: the API, content on its way to it, and staged uploads each have their own rules.'

import { contextPlan, edgePlan, regionPlan } from '../types.bicep'
import { localName } from '../names.bicep'

@description('The region.')
param region regionPlan

@description('What every resource of the environment carries and refers to.')
param context contextPlan

@description('The networks of employees.')
param edge edgePlan

@description('The name of the container that takes staged uploads.')
param stagingContainer string

@description('The paths that only employees use, in lower case; a test compares them with the permissions of the routes.')
var staffPaths = ['/api/v1/tenants', '/api/v1/dead-letters', '/api/v1/staff-grants', '/api/v1/auth/bootstrap']

@description('The rules that Microsoft keeps, against what is known to attack web services.')
var managedRules = {
  managedRuleSets: [
    { ruleSetType: 'Microsoft_DefaultRuleSet', ruleSetVersion: '2.1' }
    { ruleSetType: 'Microsoft_BotManagerRuleSet', ruleSetVersion: '1.1' }
  ]
}

@description('The same for content, whose media type is the customer\'s own: rule 920420 knows a few types and would refuse a PDF.')
var contentRules = {
  managedRuleSets: [
    {
      ...managedRules.managedRuleSets[0]
      ruleGroupOverrides: [
        {
          ruleGroupName: 'PROTOCOL-ENFORCEMENT'
          rules: [{ ruleId: '920420', state: 'Disabled' }]
        }
      ]
    }
    managedRules.managedRuleSets[1]
  ]
}

@description('Any IP address: a rate limit needs a condition, and this one always holds.')
var anyone = {
  matchVariables: [{ variableName: 'RemoteAddr' }]
  operator: 'IPMatch'
  negationConditon: true
  matchValues: ['255.255.255.255/32']
}

@description('What holds for every request to the API.')
var apiRules = [
  {
    // The host's own management routes are not for the outside.
    name: 'onlyTheApi'
    priority: 10
    ruleType: 'MatchRule'
    action: 'Block'
    matchConditions: [
      {
        matchVariables: [{ variableName: 'RequestUri' }]
        operator: 'BeginsWith'
        negationConditon: true
        transforms: ['Lowercase', 'UrlDecode']
        matchValues: ['/api/v1/']
      }
    ]
  }
  {
    // The rules below compare paths as they are sent; the app reads /x/../y and /x//y as others do /y.
    name: 'plainPaths'
    priority: 15
    ruleType: 'MatchRule'
    action: 'Block'
    matchConditions: [
      {
        matchVariables: [{ variableName: 'RequestUri' }]
        operator: 'Contains'
        transforms: ['UrlDecode']
        matchValues: ['/.', '//', '\\', '%']
      }
    ]
  }
  {
    name: 'staffFromTheirNetworks'
    priority: 20
    ruleType: 'MatchRule'
    action: 'Block'
    matchConditions: [
      {
        matchVariables: [{ variableName: 'RequestUri' }]
        operator: 'Contains'
        transforms: ['Lowercase', 'UrlDecode']
        matchValues: staffPaths
      }
      {
        matchVariables: [{ variableName: 'RemoteAddr' }]
        operator: 'IPMatch'
        negationConditon: true
        matchValues: edge.staffNetworks
      }
    ]
  }
  {
    // Guessing passwords from one address.
    name: 'signInRate'
    priority: 30
    ruleType: 'RateLimitRule'
    action: 'Block'
    rateLimitDuration: 'OneMin'
    rateLimitThreshold: 60
    groupByUserSession: [{ groupByVariables: [{ variableName: 'ClientAddr' }] }]
    matchConditions: [
      {
        matchVariables: [{ variableName: 'RequestUri' }]
        operator: 'Contains'
        transforms: ['Lowercase', 'UrlDecode']
        matchValues: ['/api/v1/auth/']
      }
    ]
  }
  {
    // A whole office may share one address, so this is well above what the app grants one user.
    name: 'rate'
    priority: 40
    ruleType: 'RateLimitRule'
    action: 'Block'
    rateLimitDuration: 'OneMin'
    rateLimitThreshold: 6000
    groupByUserSession: [{ groupByVariables: [{ variableName: 'ClientAddr' }] }]
    matchConditions: [anyone]
  }
]

@description('What holds for every staged upload: one object put into the staging container, and nothing else of the storage API.')
var uploadRules = [
  {
    name: 'onlyPut'
    priority: 10
    ruleType: 'MatchRule'
    action: 'Block'
    matchConditions: [
      {
        matchVariables: [{ variableName: 'RequestMethod' }]
        operator: 'Equal'
        negationConditon: true
        matchValues: ['PUT']
      }
    ]
  }
  {
    name: 'onlyStaging'
    priority: 20
    ruleType: 'MatchRule'
    action: 'Block'
    matchConditions: [
      {
        matchVariables: [{ variableName: 'RequestUri' }]
        operator: 'BeginsWith'
        negationConditon: true
        transforms: ['Lowercase', 'UrlDecode']
        matchValues: ['/${stagingContainer}/']
      }
    ]
  }
  {
    name: 'onlySigned'
    priority: 30
    ruleType: 'MatchRule'
    action: 'Block'
    matchConditions: [
      {
        matchVariables: [{ variableName: 'QueryString' }]
        operator: 'Contains'
        negationConditon: true
        matchValues: ['sig=']
      }
    ]
  }
  {
    name: 'rate'
    priority: 40
    ruleType: 'RateLimitRule'
    action: 'Block'
    rateLimitDuration: 'OneMin'
    rateLimitThreshold: 1000
    groupByUserSession: [{ groupByVariables: [{ variableName: 'ClientAddr' }] }]
    matchConditions: [anyone]
  }
]

@description('The signature of a staged upload is a secret while it is valid: the log shows asterisks.')
var withoutSignatures = {
  state: 'Enabled'
  scrubbingRules: [
    { matchVariable: 'RequestArgNames', selectorMatchOperator: 'Equals', selector: 'sig', state: 'Enabled' }
  ]
}

@description('For JSON: every body is read, and none may be large.')
var inspected = {
  state: 'Enabled'
  mode: 'Prevention'
  requestBodyCheck: true
  requestBodyEnforcement: true
  requestBodyInspectLimitInKB: 2000
  maxRequestBodySizeInKb: 2000
  fileUploadEnforcement: true
  fileUploadLimitInMb: 100
  logScrubbing: withoutSignatures
}

@description('For content: any bytes are allowed, so reading them would only raise false alarms; the app and the store keep the limit.')
var uninspected = {
  state: 'Enabled'
  mode: 'Prevention'
  requestBodyCheck: false
  requestBodyEnforcement: false
  fileUploadEnforcement: false
  logScrubbing: withoutSignatures
}

resource apiPolicy 'Microsoft.Network/ApplicationGatewayWebApplicationFirewallPolicies@2026-03-01' = {
  name: localName('waf', context.environment, '${region.code}-api')
  location: region.name
  tags: context.tags
  properties: {
    policySettings: inspected
    managedRules: managedRules
    customRules: apiRules
  }
}

resource contentPolicy 'Microsoft.Network/ApplicationGatewayWebApplicationFirewallPolicies@2026-03-01' = {
  name: localName('waf', context.environment, '${region.code}-contents')
  location: region.name
  tags: context.tags
  properties: {
    policySettings: uninspected
    managedRules: contentRules
    customRules: apiRules
  }
}

resource uploadPolicy 'Microsoft.Network/ApplicationGatewayWebApplicationFirewallPolicies@2026-03-01' = {
  name: localName('waf', context.environment, '${region.code}-uploads')
  location: region.name
  tags: context.tags
  properties: {
    policySettings: uninspected
    managedRules: contentRules
    customRules: uploadRules
  }
}

@description('The id of the rules for the API.')
output apiPolicyId string = apiPolicy.id

@description('The id of the rules for content on its way to and from the API.')
output contentPolicyId string = contentPolicy.id

@description('The id of the rules for staged uploads.')
output uploadPolicyId string = uploadPolicy.id
