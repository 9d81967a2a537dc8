"""Where both branches start."""

revision = 'start_martlet'
down_revision = None


def upgrade():
    pass
