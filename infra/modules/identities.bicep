metadata description = 'The four identities: who the app is, who ships it, who encrypts the stores, who serves the certificate. None has a secret.'

import { environmentName, repositoryPlan, resourceTags } from '../types.bicep'
import { localName } from '../names.bicep'

@description('The region.')
param location string

@description('Which environment this is.')
param environment environmentName

@description('The tags that every resource carries.')
param tags resourceTags

@description('The repository whose releases may be shipped.')
param repository repositoryPlan

resource identities 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = [
  for purpose in ['app', 'encryption', 'gateway']: {
    name: localName('id', environment, purpose)
    location: location
    tags: tags
  }
]

resource shipping 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: localName('id', environment, 'shipping')
  location: location
  tags: tags

  // Only a workflow that runs in this environment of this repository, with its reviewers, gets a token.
  resource github 'federatedIdentityCredentials' = {
    name: 'github'
    properties: {
      issuer: 'https://token.actions.githubusercontent.com'
      subject: 'repo:${repository.organisation}/${repository.name}:environment:${environment}'
      audiences: ['api://AzureADTokenExchange']
    }
  }
}
