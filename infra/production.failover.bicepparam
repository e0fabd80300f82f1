using 'active.bicep'

import { production } from 'environments.bicep'

param environment = 'production'
param tier = 'full'
param region = production.secondary
param capacity = production.capacity
param edge = production.edge
param bootstrapDigest = ''
