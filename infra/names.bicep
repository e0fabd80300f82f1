metadata description = 'Names: what kind of thing, of which environment, in which region. Deterministic, so that modules can refer to each other without waiting.'

import { contextPlan, environmentName, tierName, zonePlan } from 'types.bicep'

@export()
@description('Three letters for an environment, where names are short.')
func shortEnvironment(environment environmentName) string =>
  environment == 'production' ? 'prd' : environment == 'staging' ? 'stg' : 'dev'

@export()
@description('A name that only has to be unique within its resource group.')
func localName(kind string, environment environmentName, place string) string =>
  '${kind}-strongroom-${shortEnvironment(environment)}-${place}'

@export()
@description('A name that has to be unique in the world.')
func globalName(kind string, environment environmentName, place string, suffix string) string =>
  '${kind}-strongroom-${shortEnvironment(environment)}-${place}-${suffix}'

@export()
@description('A Key Vault name: 24 characters at most.')
func keyVaultName(purpose string, environment environmentName, suffix string) string =>
  'kv-sr-${shortEnvironment(environment)}-${purpose}-${suffix}'

@export()
@description('A storage account name: 24 lower-case letters and digits at most.')
func accountName(purpose string, environment environmentName, suffix string) string =>
  'stsr${shortEnvironment(environment)}${purpose}${suffix}'

@export()
@description('The resource group of a region, or of what is watched.')
func groupName(environment environmentName, place string) string => localName('rg', environment, place)

@export()
@description('The id of a resource in the group of what is watched.')
func watchedId(environment environmentName, subscriptionId string, type string, kind string) string =>
  '/subscriptions/${subscriptionId}/resourceGroups/${groupName(environment, 'watch')}/providers/${type}/${localName(kind, environment, 'watch')}'

@export()
@description('What every resource of an environment carries and refers to. Everything in it follows from its arguments.')
func contextOf(environment environmentName, tier tierName, subscriptionId string, keyVaultDomain string) contextPlan => {
  environment: environment
  suffix: suffixOf(environment, subscriptionId)
  tags: {
    application: 'strongroom'
    environment: environment
    data: environment == 'production' ? 'customer' : 'test'
  }
  workspaceId: watchedId(environment, subscriptionId, 'Microsoft.OperationalInsights/workspaces', 'log')
  actionGroupId: watchedId(environment, subscriptionId, 'Microsoft.Insights/actionGroups', 'ag')
  identityGroup: groupName(environment, 'watch')
  encryption: {
    vaultUri: 'https://${keyVaultName('plat', environment, suffixOf(environment, subscriptionId))}${keyVaultDomain}/'
    identity: localName('id', environment, 'encryption')
  }
  locked: tier == 'full'
}

@export()
@description('Six characters that no other subscription gets.')
func suffixOf(environment environmentName, subscriptionId string) string =>
  take(uniqueString(subscriptionId, environment), 6)

@export()
@description('The private DNS zones, by what they name.')
func zonesOf(storageSuffix string) zonePlan => {
  blob: 'privatelink.blob.${storageSuffix}'
  table: 'privatelink.table.${storageSuffix}'
  keys: 'privatelink.vaultcore.azure.net'
  records: 'privatelink.documents.azure.com'
  bus: 'privatelink.servicebus.windows.net'
  sites: 'privatelink.azurewebsites.net'
  monitor: 'privatelink.monitor.azure.com'
  monitorIngestion: 'privatelink.ods.opinsights.azure.com'
  monitorQuery: 'privatelink.oms.opinsights.azure.com'
  monitorAgents: 'privatelink.agentsvc.azure-automation.net'
}
