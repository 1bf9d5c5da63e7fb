from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("simcourier", "0005_campaign_digest"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="notification",
            options={"ordering": ["created_at", "id"], "verbose_name": "mail"},
        ),
    ]
