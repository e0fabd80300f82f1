metadata description = 'The roles that identities get: the GUIDs of built-in roles, and our own where a built-in one allows too much.'

@export()
@description('Built-in roles, by what they are for. https://learn.microsoft.com/azure/role-based-access-control/built-in-roles')
var builtInRoles = {
  blobDataContributor: 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
  blobDataOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  blobDelegator: 'db58b8e5-c6ad-4a2a-8342-4190687cbf4a'
  tableDataContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
  cryptoServiceEncryptionUser: 'e147488a-f6f5-4113-8e2d-b22465e65bf6'
  keyVaultSecretsUser: '4633458b-17de-408a-b874-0445c86b69e6'
  busDataSender: '69a216fc-b8fb-44d8-bc22-1f3c2cd27a39'
  busDataReceiver: '4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0'
  monitoringMetricsPublisher: '3913510d-42f4-4e42-8a64-420c390055eb'
  websiteContributor: 'de139f84-1756-47ae-9be6-808fbbe84772'
}

@export()
@description('The GUID of a role of our own, one for each subscription.')
func ownRole(subscriptionId string, name ownRoleName) string => guid(subscriptionId, 'strongroom-${name}')

@description('Our own roles, which modules/custom-roles.bicep defines.')
type ownRoleName = 'key-user' | 'backup-keeper' | 'key-page-keeper'
