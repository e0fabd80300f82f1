using 'main.bicep'

import { staging } from 'environments.bicep'

param environment = 'staging'
param tier = 'full'
param subscriptionId = staging.subscriptionId
param primary = staging.primary
param secondary = staging.secondary
param capacity = staging.capacity
param edge = staging.edge
param retention = {
  backupDays: 7
  archiveDays: 30
  immutability: 'Unlocked'
  recoveryDays: 30
  logDays: 90
}
param watch = {
  alertAddress: 'operations@strongroom.example'
  monthlyBudget: 3500
  budgetStart: '2026-12-01'
  defenderPlans: []
}
param repository = { organisation: 'strongroom-example', name: 'strongroom' }
param bootstrapDigest = readEnvironmentVariable('STRONGROOM_BOOTSTRAP_DIGEST', '')
param certificate = readEnvironmentVariable('STRONGROOM_CERTIFICATE', '')
param certificateExpires = int(readEnvironmentVariable('STRONGROOM_CERTIFICATE_EXPIRES', '1'))
