import gc
import os
from importlib import import_module

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clipsite.settings")
application = get_wsgi_application()
# All code stays: loaded now, not with somebody's first request, and never gone over for garbage again.
import_module(settings.ROOT_URLCONF)
gc.freeze()
