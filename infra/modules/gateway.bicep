metadata description = 'The edge of a full environment: the only public IP address that takes connections.'

import { capacityPlan, contextPlan, edgePlan, regionPlan } from '../types.bicep'
import { localName } from '../names.bicep'

@description('The region.')
param region regionPlan

@description('What every resource of the environment carries and refers to.')
param context contextPlan

@description('How many instances.')
param capacity capacityPlan

@description('The host names.')
param edge edgePlan

@description('The name of the identity that reads the certificate.')
param identityName string

@description('The URL of the certificate in Key Vault, without a version, so that a renewed one is picked up.')
param certificateUrl string

@description('The host name of the function app.')
param appHost string

@description('The host name of the staging account.')
param stagingHost string

@description('The id of the web firewall rules for the API.')
param apiPolicyId string

@description('The id of the web firewall rules for content.')
param contentPolicyId string

@description('The id of the web firewall rules for staged uploads.')
param uploadPolicyId string

@description('Its name.')
var name = localName('agw', context.environment, region.code)

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
  scope: resourceGroup(context.identityGroup)
}

resource network 'Microsoft.Network/virtualNetworks@2026-03-01' existing = {
  name: localName('vnet', context.environment, region.code)

  resource subnet 'subnets' existing = {
    name: 'gateway'
  }
}

resource address 'Microsoft.Network/publicIPAddresses@2026-03-01' = {
  name: localName('pip', context.environment, '${region.code}-gateway')
  location: region.name
  tags: context.tags
  sku: { name: 'Standard' }
  zones: ['1', '2', '3']
  properties: { publicIPAllocationMethod: 'Static' }
}

resource gateway 'Microsoft.Network/applicationGateways@2026-03-01' = {
  name: name
  location: region.name
  tags: context.tags
  zones: ['1', '2', '3']
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identity.id}': {} }
  }
  properties: {
    sku: { name: 'WAF_v2', tier: 'WAF_v2' }
    autoscaleConfiguration: {
      minCapacity: capacity.gatewayMinimumUnits
      maxCapacity: capacity.gatewayMaximumUnits
    }
    enableHttp2: true
    // The web firewall reads requests whole, and does so whatever this says. It reads no responses, so a download
    // begins as soon as the app sends its first byte, and takes no memory of the gateway.
    globalConfiguration: {
      enableRequestBuffering: true
      enableResponseBuffering: false
    }
    // CustomV2 offers TLS 1.3 with its own suites as well; this list is what TLS 1.2 may use.
    sslPolicy: {
      policyType: 'CustomV2'
      minProtocolVersion: 'TLSv1_2'
      cipherSuites: ['TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384']
    }
    firewallPolicy: { id: apiPolicyId }
    gatewayIPConfigurations: [
      { name: 'subnet', properties: { subnet: { id: network::subnet.id } } }
    ]
    frontendIPConfigurations: [
      { name: 'public', properties: { publicIPAddress: { id: address.id } } }
    ]
    frontendPorts: [
      { name: 'https', properties: { port: 443 } }
      { name: 'http', properties: { port: 80 } }
    ]
    sslCertificates: [
      { name: 'tls', properties: { keyVaultSecretId: certificateUrl } }
    ]
    httpListeners: [
      {
        name: 'api'
        properties: {
          protocol: 'Https'
          hostName: edge.apiHost
          requireServerNameIndication: true
          frontendIPConfiguration: {
            id: resourceId('Microsoft.Network/applicationGateways/frontendIPConfigurations', name, 'public')
          }
          frontendPort: { id: resourceId('Microsoft.Network/applicationGateways/frontendPorts', name, 'https') }
          sslCertificate: { id: resourceId('Microsoft.Network/applicationGateways/sslCertificates', name, 'tls') }
          firewallPolicy: { id: apiPolicyId }
        }
      }
      {
        name: 'uploads'
        properties: {
          protocol: 'Https'
          hostName: edge.uploadHost
          requireServerNameIndication: true
          frontendIPConfiguration: {
            id: resourceId('Microsoft.Network/applicationGateways/frontendIPConfigurations', name, 'public')
          }
          frontendPort: { id: resourceId('Microsoft.Network/applicationGateways/frontendPorts', name, 'https') }
          sslCertificate: { id: resourceId('Microsoft.Network/applicationGateways/sslCertificates', name, 'tls') }
          firewallPolicy: { id: uploadPolicyId }
        }
      }
      {
        name: 'plain'
        properties: {
          protocol: 'Http'
          // Not the upload host's: a redirect would tell the API's host, and its log, the signature.
          hostName: edge.apiHost
          frontendIPConfiguration: {
            id: resourceId('Microsoft.Network/applicationGateways/frontendIPConfigurations', name, 'public')
          }
          frontendPort: { id: resourceId('Microsoft.Network/applicationGateways/frontendPorts', name, 'http') }
        }
      }
    ]
    backendAddressPools: [
      { name: 'api', properties: { backendAddresses: [{ fqdn: appHost }] } }
      { name: 'staging', properties: { backendAddresses: [{ fqdn: stagingHost }] } }
    ]
    probes: [
      {
        name: 'api'
        properties: {
          protocol: 'Https'
          path: '/api/v1/health'
          pickHostNameFromBackendHttpSettings: true
          interval: 30
          timeout: 30
          unhealthyThreshold: 3
        }
      }
      {
        // Storage refuses a request without a signature; any response at all shows that it is reachable.
        name: 'staging'
        properties: {
          protocol: 'Https'
          path: '/'
          pickHostNameFromBackendHttpSettings: true
          interval: 30
          timeout: 30
          unhealthyThreshold: 3
          match: { statusCodes: ['400-499'] }
        }
      }
    ]
    backendHttpSettingsCollection: [
      {
        name: 'api'
        properties: {
          protocol: 'Https'
          port: 443
          pickHostNameFromBackendAddress: true
          cookieBasedAffinity: 'Disabled'
          // The platform in front of the app gives up after 230 seconds without a response.
          requestTimeout: 240
          probe: { id: resourceId('Microsoft.Network/applicationGateways/probes', name, 'api') }
        }
      }
      {
        name: 'staging'
        properties: {
          protocol: 'Https'
          port: 443
          pickHostNameFromBackendAddress: true
          cookieBasedAffinity: 'Disabled'
          requestTimeout: 3600
          probe: { id: resourceId('Microsoft.Network/applicationGateways/probes', name, 'staging') }
        }
      }
    ]
    redirectConfigurations: [
      {
        name: 'api'
        properties: {
          redirectType: 'Permanent'
          targetListener: { id: resourceId('Microsoft.Network/applicationGateways/httpListeners', name, 'api') }
          includePath: true
          includeQueryString: true
        }
      }
    ]
    rewriteRuleSets: [
      {
        name: 'headers'
        properties: {
          rewriteRules: [
            {
              name: 'strict-transport-security'
              ruleSequence: 100
              actionSet: {
                requestHeaderConfigurations: [
                  // Whatever a client has put there is gone. The Functions host keeps no X-Forwarded-For.
                  { headerName: 'Strongroom-Client-Address', headerValue: '{var_client_ip}' }
                ]
                responseHeaderConfigurations: [
                  { headerName: 'Strict-Transport-Security', headerValue: 'max-age=63072000; includeSubDomains' }
                  { headerName: 'Server', headerValue: '' }
                ]
              }
            }
          ]
        }
      }
    ]
    urlPathMaps: [
      {
        name: 'api'
        properties: {
          defaultBackendAddressPool: {
            id: resourceId('Microsoft.Network/applicationGateways/backendAddressPools', name, 'api')
          }
          defaultBackendHttpSettings: {
            id: resourceId('Microsoft.Network/applicationGateways/backendHttpSettingsCollection', name, 'api')
          }
          defaultRewriteRuleSet: {
            id: resourceId('Microsoft.Network/applicationGateways/rewriteRuleSets', name, 'headers')
          }
          pathRules: [
            {
              name: 'contents'
              properties: {
                paths: ['/api/v1/documents', '/api/v1/documents/*']
                backendAddressPool: {
                  id: resourceId('Microsoft.Network/applicationGateways/backendAddressPools', name, 'api')
                }
                backendHttpSettings: {
                  id: resourceId('Microsoft.Network/applicationGateways/backendHttpSettingsCollection', name, 'api')
                }
                rewriteRuleSet: {
                  id: resourceId('Microsoft.Network/applicationGateways/rewriteRuleSets', name, 'headers')
                }
                firewallPolicy: { id: contentPolicyId }
              }
            }
          ]
        }
      }
    ]
    requestRoutingRules: [
      {
        name: 'api'
        properties: {
          ruleType: 'PathBasedRouting'
          priority: 100
          httpListener: { id: resourceId('Microsoft.Network/applicationGateways/httpListeners', name, 'api') }
          urlPathMap: { id: resourceId('Microsoft.Network/applicationGateways/urlPathMaps', name, 'api') }
        }
      }
      {
        name: 'uploads'
        properties: {
          ruleType: 'Basic'
          priority: 200
          httpListener: { id: resourceId('Microsoft.Network/applicationGateways/httpListeners', name, 'uploads') }
          backendAddressPool: {
            id: resourceId('Microsoft.Network/applicationGateways/backendAddressPools', name, 'staging')
          }
          backendHttpSettings: {
            id: resourceId('Microsoft.Network/applicationGateways/backendHttpSettingsCollection', name, 'staging')
          }
          rewriteRuleSet: { id: resourceId('Microsoft.Network/applicationGateways/rewriteRuleSets', name, 'headers') }
        }
      }
      {
        name: 'to-https'
        properties: {
          ruleType: 'Basic'
          priority: 300
          httpListener: { id: resourceId('Microsoft.Network/applicationGateways/httpListeners', name, 'plain') }
          redirectConfiguration: {
            id: resourceId('Microsoft.Network/applicationGateways/redirectConfigurations', name, 'api')
          }
        }
      }
    ]
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

#disable-next-line use-recent-api-versions // the newest that knows category groups
resource gatewayDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: gateway
  properties: {
    workspaceId: context.workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}
