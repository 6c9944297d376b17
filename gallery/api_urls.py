from django.urls import path

from gallery import api, set_aside_api, talk_api, webhook_api

urlpatterns = [
    path("token/", api.Token.as_view(), name="api-token"),
    path("projects/", api.Projects.as_view(), name="api-projects"),
    path("projects/<slug:slug>/", api.ProjectDetail.as_view(), name="api-project"),
    path("projects/<slug:slug>/members/", api.Members.as_view(), name="api-members"),
    path("projects/<slug:slug>/members/<int:pk>/", api.Member.as_view(), name="api-member"),
    path("projects/<slug:slug>/invitations/", api.Invitations.as_view(), name="api-invitations"),
    path("projects/<slug:slug>/invitations/<int:pk>/", api.InvitationDetail.as_view(), name="api-invitation"),
    path("invitations/accept/", api.AcceptInvitation.as_view(), name="api-invitation-accept"),
    path("projects/<slug:slug>/images/", api.Images.as_view(), name="api-images"),
    path("projects/<slug:slug>/set-aside/", set_aside_api.SetAside.as_view(), name="api-set-aside"),
    path("projects/<slug:slug>/webhooks/", webhook_api.Webhooks.as_view(), name="api-webhooks"),
    path("webhooks/<int:pk>/", webhook_api.WebhookDetail.as_view(), name="api-webhook"),
    path("webhooks/<int:pk>/secret/", webhook_api.WebhookSecret.as_view(), name="api-webhook-secret"),
    path("webhooks/<int:pk>/ping/", webhook_api.WebhookPing.as_view(), name="api-webhook-ping"),
    path("webhooks/<int:pk>/deliveries/", webhook_api.Deliveries.as_view(), name="api-webhook-deliveries"),
    path("webhook-deliveries/<int:pk>/", webhook_api.Delivery.as_view(), name="api-webhook-delivery"),
    path("webhook-deliveries/<int:pk>/resend/", webhook_api.Resend.as_view(), name="api-webhook-resend"),
    path("uploads/<int:pk>/", api.UploadDetail.as_view(), name="api-upload"),
    path("uploads/<int:pk>/stop/", api.UploadStop.as_view(), name="api-upload-stop"),
    path("images/<int:pk>/", api.ImageDetail.as_view(), name="api-image"),
    path("images/<int:pk>/file/", api.ImageFile.as_view(), name="api-image-file"),
    path("images/<int:pk>/thumbnail/", api.ImageFile.as_view(field="thumbnail"), name="api-image-thumbnail"),
    path("images/<int:pk>/comments/", talk_api.ImageComments.as_view(), name="api-image-comments"),
    path("comments/", talk_api.Comments.as_view(), name="api-comments"),
    path("comments/<int:pk>/", talk_api.CommentDetail.as_view(), name="api-comment"),
]
