metadata description = 'What the platform vault holds: one key a kind of store, which rotate by themselves, and the certificate of the gateway.'

@description('The name of the platform vault.')
param vaultName string

@description('The certificate with its private key, PFX without a password, base 64; empty: the one that is there stays.')
@secure()
param certificate string

@description('When the certificate ends, seconds since 1970.')
param certificateExpires int

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

resource tls 'Microsoft.KeyVault/vaults/secrets@2026-05-15' = if (!empty(certificate)) {
  parent: vault
  name: 'tls'
  properties: {
    value: certificate
    contentType: 'application/x-pkcs12'
    attributes: {
      enabled: true
      exp: certificateExpires
    }
  }
}
