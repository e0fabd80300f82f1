using 'main.bicep'

import { production } from 'environments.bicep'

param environment = 'production'
param tier = 'full'
param subscriptionId = production.subscriptionId
param primary = production.primary
param secondary = production.secondary
param capacity = production.capacity
param edge = production.edge
param retention = {
  backupDays: 35
  archiveDays: 365
  immutability: 'Unlocked'
  recoveryDays: 90
  logDays: 365
}
param watch = {
  alertAddress: 'operations@strongroom.example'
  monthlyBudget: 9000
  budgetStart: '2026-12-01'
  defenderPlans: ['KeyVaults']
}
param repository = { organisation: 'strongroom-example', name: 'strongroom' }
param bootstrapDigest = readEnvironmentVariable('STRONGROOM_BOOTSTRAP_DIGEST', '')
param certificate = readEnvironmentVariable('STRONGROOM_CERTIFICATE', '')
param certificateExpires = int(readEnvironmentVariable('STRONGROOM_CERTIFICATE_EXPIRES', '1'))
