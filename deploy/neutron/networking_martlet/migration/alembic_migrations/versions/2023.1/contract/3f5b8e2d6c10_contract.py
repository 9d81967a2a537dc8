"""The contract branch: nothing was ever taken away."""

from neutron.db.migration import cli

revision = '3f5b8e2d6c10'
down_revision = 'start_martlet'
branch_labels = (cli.CONTRACT_BRANCH,)


def upgrade():
    pass
