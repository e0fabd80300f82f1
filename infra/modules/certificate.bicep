metadata description = 'The certificate of the gateway, as a secret, because no resource of Azure creates a certificate from one that exists.'

@description('The name of the platform vault.')
param vaultName string

@description('The certificate with its private key, PFX without a password, base 64.')
@secure()
param certificate string

@description('When the certificate ends, seconds since 1970.')
param certificateExpires int

resource vault 'Microsoft.KeyVault/vaults@2026-05-15' existing = {
  name: vaultName
}

resource tls 'Microsoft.KeyVault/vaults/secrets@2026-05-15' = {
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
