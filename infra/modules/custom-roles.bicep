targetScope = 'subscription'

metadata description = 'Our own roles: what the app does with keys and with its backups, and nothing that would let it take one away before its time or let others in.'

import { environmentName } from '../types.bicep'
import { ownRole } from '../roles.bicep'

@description('Which environment this is.')
param environment environmentName

resource keyUser 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: ownRole(subscription().subscriptionId, 'key-user')
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

resource backupKeeper 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: ownRole(subscription().subscriptionId, 'backup-keeper')
  properties: {
    roleName: 'Strongroom backup keeper (${environment})'
    description: 'Writes and reads backups, dates them, and deletes what has expired. Cannot shorten or take away a locked date, delete for good what can be brought back, nor change or delete the container.'
    type: 'CustomRole'
    assignableScopes: [subscription().id]
    permissions: [
      {
        // The environment is in the metadata of the container.
        actions: ['Microsoft.Storage/storageAccounts/blobServices/containers/read']
        notActions: []
        dataActions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write'
          // Deleting an object makes it a previous version, and that has to be deleted as well.
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete'
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/deleteBlobVersion/action'
          // Azure asks for this to give an object its date, and to move it later. It would also remove a date
          // that is not locked, or end it earlier; a locked one stays, whoever asks.
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/immutableStorage/runAsSuperUser/action'
        ]
        notDataActions: []
      }
    ]
  }
}

resource keyPageKeeper 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: ownRole(subscription().subscriptionId, 'key-page-keeper')
  properties: {
    roleName: 'Strongroom key page keeper (${environment})'
    description: 'Writes, reads and deletes the key pages of backups. Cannot change or delete the container that holds all of them.'
    type: 'CustomRole'
    assignableScopes: [subscription().id]
    permissions: [
      {
        // The environment is in the metadata of the container.
        actions: ['Microsoft.Storage/storageAccounts/blobServices/containers/read']
        notActions: []
        dataActions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write'
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete'
        ]
        notDataActions: []
      }
    ]
  }
}
