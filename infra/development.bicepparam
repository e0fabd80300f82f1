using 'main.bicep'

import { development } from 'environments.bicep'

param environment = 'development'
param tier = 'small'
param subscriptionId = development.subscriptionId
param primary = development.primary
param secondary = development.secondary
param capacity = development.capacity
param edge = development.edge
param retention = {
  backupDays: 7
  archiveDays: 30
  immutability: 'Unlocked'
  recoveryDays: 7
  logDays: 90
}
param watch = {
  alertAddress: 'operations@strongroom.example'
  monthlyBudget: 325
  budgetStart: '2026-12-01'
  defenderPlans: []
}
param repository = { organisation: 'strongroom-example', name: 'strongroom' }
param bootstrapDigest = readEnvironmentVariable('STRONGROOM_BOOTSTRAP_DIGEST', '')
param certificate = readEnvironmentVariable('STRONGROOM_CERTIFICATE', '')
param certificateExpires = int(readEnvironmentVariable('STRONGROOM_CERTIFICATE_EXPIRES', '1'))
