metadata description = 'The page that shows how the service does; its content is workbook.json.'

import { contextPlan } from '../types.bicep'

@description('The region.')
param location string

@description('What every resource of the environment carries and refers to.')
param context contextPlan

resource page 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'strongroom')
  location: location
  tags: context.tags
  kind: 'shared'
  properties: {
    displayName: 'Strongroom (${context.environment})'
    category: 'workbook'
    version: 'Notebook/1.0'
    sourceId: context.workspaceId
    serializedData: string(loadJsonContent('../workbook.json'))
  }
}
