from django.urls import path

from gallery import set_aside_views, talk_views, views

urlpatterns = [
    path("", views.projects, name="projects"),
    path("projects/<slug:slug>/settings/", views.project_settings, name="project_settings"),
    path("projects/<slug:slug>/delete/", views.project_delete, name="project_delete"),
    path("projects/<slug:slug>/members/", views.members, name="members"),
    path("projects/<slug:slug>/invitations/", views.invite, name="invite"),
    path("invitations/<int:pk>/revoke/", views.invitation_revoke, name="invitation_revoke"),
    path("invitations/<str:token>/", views.invitation, name="invitation"),
    path("members/<int:pk>/", views.member, name="member"),
    path("projects/<slug:slug>/set-aside/", set_aside_views.set_aside_page, name="set_aside"),
    path("projects/<slug:slug>/upload/", views.project_upload, name="project_upload"),
    path("uploads/<int:pk>/", views.upload, name="upload"),
    path("uploads/<int:pk>/stop/", views.upload_stop, name="upload_stop"),
    path("images/<int:pk>/file/", views.image_file, name="image_file"),
    path("images/<int:pk>/thumbnail/", views.image_thumbnail, name="image_thumbnail"),
    path("images/<int:pk>/preview/", views.image_preview, name="image_preview"),
    path("images/<int:pk>/delete/", views.image_delete, name="image_delete"),
    path("images/<int:pk>/comments/", talk_views.comments, name="comments"),
    path("comments/<int:pk>/delete/", talk_views.comment_delete, name="comment_delete"),
    path("comments/<int:pk>/resolve/", talk_views.comment_resolve, name="comment_resolve"),
    path("projects/<slug:slug>/guidelines/", talk_views.guidelines, name="guidelines"),
    path("account/mentions/", talk_views.mentions, name="mentions"),
    path("account/tokens/", views.tokens, name="tokens"),
    path("account/tokens/revoke/", views.token_revoke, name="token_revoke"),
]
