targetScope = 'subscription'

metadata description = 'Our own role: what the app does with keys, and nothing that would let it take one away or let others in.'

import { environmentName } from '../types.bicep'
import { keyUserRole } from '../roles.bicep'

@description('Which environment this is.')
param environment environmentName

resource keyUser 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: keyUserRole(subscription().subscriptionId)
  properties: {
    roleName: 'Strongroom key user (${environment})'
    description: 'Creates, uses, rotates and destroys tenant keys. Cannot export, back up, import or purge a key, nor change who may use it.'
    type: 'CustomRole'
    assignableScopes: [subscription().id]
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.KeyVault/vaults/keys/read'
          'Microsoft.KeyVault/vaults/keys/create/action'
          'Microsoft.KeyVault/vaults/keys/rotate/action'
          'Microsoft.KeyVault/vaults/keys/delete'
          'Microsoft.KeyVault/vaults/keys/wrap/action'
          'Microsoft.KeyVault/vaults/keys/unwrap/action'
          'Microsoft.KeyVault/vaults/keys/sign/action'
        ]
        notDataActions: []
      }
    ]
  }
}
