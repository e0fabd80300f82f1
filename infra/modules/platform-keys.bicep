metadata description = 'What the platform vault holds: one key a kind of store, which rotate by themselves.'

@description('The name of the platform vault.')
param vaultName string

resource vault 'Microsoft.KeyVault/vaults@2026-05-15' existing = {
  name: vaultName
}

resource keys 'Microsoft.KeyVault/vaults/keys@2026-05-15' = [
  for store in ['storage', 'records', 'bus']: {
    parent: vault
    name: store
    properties: {
      kty: 'RSA-HSM'
      keySize: 3072
      keyOps: ['wrapKey', 'unwrapKey']
      attributes: { enabled: true, exportable: false }
      rotationPolicy: {
        attributes: { expiryTime: 'P2Y' }
        lifetimeActions: [
          {
            action: { type: 'rotate' }
            trigger: { timeAfterCreate: 'P1Y' }
          }
          {
            action: { type: 'notify' }
            trigger: { timeBeforeExpiry: 'P30D' }
          }
        ]
      }
    }
  }
]
