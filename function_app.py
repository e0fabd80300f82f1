"""The app that Azure Functions indexes: registers what ``functions`` offers, nothing else."""

import azure.functions as func

from functions import audit, encryption, http, replication, schedules, targets

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

for module in (http, encryption, replication, targets, audit, schedules):
    app.register_functions(module.blueprint)
