"""The judge as a service over HTTP (Starlette and uvicorn, the extra `serve`): docs/service.md."""
