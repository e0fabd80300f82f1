using 'active.bicep'

import { staging } from 'environments.bicep'

param environment = 'staging'
param tier = 'full'
param region = staging.secondary
param capacity = staging.capacity
param edge = staging.edge
param bootstrapDigest = ''
