from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from clipsite import health
from labeling.api import BestMatch

api = [
    path("", include("gallery.api_urls")),
    path("", include("labeling.api_urls")),
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("docs/", SpectacularSwaggerSplitView.as_view(url_name="api-schema"), name="api-docs"),
]

urlpatterns = [
    path("", include("gallery.urls")),
    path("", include("labeling.urls")),
    path("accounts/", include("allauth.account.urls")),
    path("admin/", admin.site.urls),
    path("api/v1/", include(api)),
    path("image_text_similarity_best_match", BestMatch.as_view(), name="api-best-match"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]

handler400 = "clipsite.errors.bad_request"
handler404 = "clipsite.errors.not_found"
handler500 = "clipsite.errors.server_error"
