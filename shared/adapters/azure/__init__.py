"""The ports on Azure: Blob Storage, Cosmos DB, Key Vault and Service Bus through the official SDKs.

Importing a module of this package imports no SDK; each is imported when its service is first used.
"""
