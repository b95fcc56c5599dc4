"""Mail written for these tests: ordinary and unwanted, German and English, plain and HTML. Nothing here is real."""
# ruff: noqa: E501, ISC004, W291  (mail as it is written)

from __future__ import annotations

from email.message import EmailMessage
from textwrap import dedent


def mail(
    body: str,
    *,
    sender: str = "Anna Berger <anna.berger@werkzeug-berger.example>",
    to: str = "Karl Moser <karl.moser@kunde.example>",
    subject: str = "Termin",
    html: str = "",
    **headers: str,
) -> bytes:
    """One message with CRLF line ends; `headers` with underscores for hyphens."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = "Tue, 03 Jun 2025 10:12:00 +0200"
    message["Message-ID"] = f"<20250603101200.4711@{sender.rpartition('@')[2].rstrip('>')}>"
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(dedent(body).lstrip("\n"))
    if html:
        message.add_alternative(dedent(html).lstrip("\n"), subtype="html")
    return message.as_bytes().replace(b"\n", b"\r\n")


def newsletter(title: str, paragraphs: list[str], *, sender: str, footer: str, button: str) -> bytes:
    """A newsletter as a mailing service builds it: tables, pictures and links of the sender's own domain."""
    domain = sender.rpartition("@")[2].rstrip(">")
    rows = "".join(
        f'<tr><td style="padding:16px 24px;font-family:Arial,sans-serif;font-size:15px;color:#333333">'
        f'<h2 style="font-size:18px">{text.split(". ")[0]}</h2><p>{text}</p>'
        f'<a href="https://www.{domain}/beitrag/{number}" style="color:#0a5c8a">{button}</a></td></tr>'
        for number, text in enumerate(paragraphs, 1)
    )
    html = (
        '<!DOCTYPE html><html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>@media (max-width:600px){{.w{{width:100%!important}}}}</style></head>"
        '<body style="margin:0;background-color:#f4f4f4"><table role="presentation" width="100%"><tr><td align="center">'
        f'<table class="w" width="600" style="background-color:#ffffff"><tr><td><img src="https://www.{domain}/kopf.png" '
        f'width="600" alt="{title}"></td></tr>{rows}<tr><td style="font-size:12px;color:#777777">{footer} '
        f'<a href="https://www.{domain}/abmelden?n=8842">Abmelden / Unsubscribe</a></td></tr></table></td></tr></table></body></html>'
    )
    plain = title + "\n\n" + "\n\n".join(paragraphs) + "\n\n" + footer
    return mail(plain, sender=sender, subject=title, html=html)


HAM: dict[str, bytes] = {
    "de-termin": mail(
        """
        Hallo Herr Moser,

        vielen Dank für Ihren Anruf heute Vormittag. Wie besprochen kommen unsere Monteure am Donnerstag um
        9 Uhr zu Ihnen und bringen die beiden Ersatzteile mit. Bitte sorgen Sie dafür, dass der Zugang zum
        Keller frei ist.

        Mit freundlichen Grüßen
        Anna Berger

        -- 
        Werkzeug Berger GmbH, Industriestraße 4, 70565 Stuttgart
        Amtsgericht Stuttgart HRB 00000, Geschäftsführer: Jonas Berger
        """,
        subject="Ihr Termin am Donnerstag",
    ),
    "de-rechnung": mail(
        """
        Sehr geehrte Frau Lindner,

        anbei erhalten Sie unsere Rechnung Nr. 2025-00481 vom 2. Juni 2025 über 1.284,60 EUR für die Wartung
        Ihrer Heizungsanlage. Bitte überweisen Sie den Betrag innerhalb von 14 Tagen auf das angegebene Konto.
        Bei Fragen erreichen Sie uns unter 0711 555 01 22.

        Mit freundlichen Grüßen
        Buchhaltung
        """,
        sender="Buchhaltung Heizungsbau Vogt <buchhaltung@vogt-heizung.example>",
        subject="Rechnung 2025-00481",
    ),
    "de-bestellung": mail(
        """
        Guten Tag Karl Moser,

        wir haben Ihre Bestellung 884213 erhalten und packen sie gerade ein. Sobald das Paket unser Haus
        verlässt, schicken wir Ihnen die Nummer der Sendung.

        2 x Bohrerset 19-teilig      49,80 EUR
        1 x Schutzbrille              7,95 EUR
        Versand                       4,90 EUR
        Summe                        62,65 EUR

        Ihr Kundenkonto: https://www.werkzeug-berger.example/konto
        """,
        sender="Werkzeug Berger Shop <shop@werkzeug-berger.example>",
        subject="Ihre Bestellung 884213",
    ),
    "de-newsletter": newsletter(
        "Neues aus der Stadtbücherei im Juni",
        [
            "Lesesommer für Kinder. Vom 1. Juli an können sich alle Kinder zwischen sechs und zwölf Jahren für den "
            "Lesesommer anmelden, die Teilnahme ist kostenlos.",
            "Neue Öffnungszeiten. Die Zweigstelle am Markt ist ab sofort auch am Samstag bis 16 Uhr geöffnet.",
            "Lesung mit Gespräch. Am 18. Juni liest die Autorin aus ihrem neuen Roman, der Eintritt kostet 5 Euro.",
        ],
        sender="Stadtbücherei <newsletter@stadtbuecherei-neuburg.example>",
        footer="Sie erhalten diesen Newsletter, weil Sie ihn bestellt haben. Impressum: Stadt Neuburg, Rathausplatz 1.",
        button="Weiterlesen",
    ),
    "de-angebot-newsletter": newsletter(
        "Sommerangebote: 20 % auf alle Gartenmöbel",
        [
            "Gartenstühle und Tische. Nur bis Sonntag erhalten Sie 20 % Rabatt auf unser gesamtes Sortiment, auch auf "
            "bereits reduzierte Ware.",
            "Sonnenschirme. Jetzt ab 79,00 Euro, Lieferung innerhalb Deutschlands kostenlos.",
        ],
        sender="Möbelhaus Kern <angebote@moebel-kern.example>",
        footer="Möbelhaus Kern GmbH, Impressum, Datenschutz. Sie möchten keine Angebote mehr?",
        button="Jetzt ansehen",
    ),
    "en-newsletter": newsletter(
        "What is new in Fieldnotes 4.2",
        [
            "Offline maps. You can now download a region before you leave and use it for up to thirty days without a "
            "connection.",
            "Shared notebooks. Invite your team to a notebook and choose who may edit and who may only read.",
            "Fixes. We have repaired the export to spreadsheets and the search on large notebooks.",
        ],
        sender="Fieldnotes <hello@fieldnotes.example>",
        footer="You receive this message because you have a Fieldnotes account. Fieldnotes Ltd, 12 Mill Lane, Leeds.",
        button="Read more",
    ),
    "en-reply": mail(
        """
        Hi Karl,

        thanks, the patch looks good to me. I ran the test suite on the build machine last night and the two
        failures from Friday are gone. Could you add a line to the changelog before you merge it? The release
        branch will be cut on Wednesday.

        Cheers,
        Anna
        """,
        subject="build failures on Friday",
    ),
    "en-password": mail(
        """
        Hello Karl,

        somebody, hopefully you, asked for a new password for your account at Fieldnotes. If it was you, open
        this link within 24 hours:

        https://www.fieldnotes.example/password/reset/Zk3v9

        If it was not you, you need not do anything, your password stays as it is.

        Fieldnotes
        """,
        sender="Fieldnotes <noreply@fieldnotes.example>",
        subject="Reset your Fieldnotes password",
    ),
    "en-invoice": mail(
        """
        Dear Ms Lindner,

        please find attached our invoice INV-20391 for the consulting work in May. The total is 2,150.00 EUR,
        payable within 30 days. Our bank details are on the invoice and have not changed.

        Kind regards,
        Tom Fisher
        Accounts, Northgate Survey Ltd
        """,
        sender="Tom Fisher <tom.fisher@northgate-survey.example>",
        subject="Invoice INV-20391 for May",
    ),
    "en-ticket": mail(
        """
        A new comment was added to ticket #5512 by Priya N.

        > The printer on the second floor shows the error again since this morning.

        We have ordered the part, the technician comes tomorrow between 10 and 12.

        View the ticket: https://support.northgate-survey.example/tickets/5512
        """,
        sender="Northgate Support <support@northgate-survey.example>",
        subject="[#5512] Printer second floor",
    ),
}

SPAM: dict[str, bytes] = {
    "en-phishing-mailbox": mail(
        "Your mailbox is almost full. Verify your account within 24 hours or it will be suspended.",
        sender='"Microsoft Outlook Support" <admin@kreativ-blumen7731.xyz>',
        to="karl.moser@kunde.example",
        subject="URGENT: karl.moser@kunde.example mailbox will be DEACTIVATED!",
        html="""
        <html><body><center><table width=500 bgcolor="#0078d4"><tr><td><font color=white size=5>Microsoft Outlook</font>
        </td></tr></table><p>Dear user karl.moser@kunde.example,</p>
        <p>Your mailbox storage is 98% full. Your account will be <b>suspended within 24 hours</b>. To avoid losing your
        messages you must verify your account immediately.</p>
        <p><a href="http://mailbox-verify8841.web.app/login.html?u=karl.moser@kunde.example">https://outlook.office.com/verify</a></p>
        <p>Click here to keep your current password.</p><p>Microsoft account team</p></center></body></html>
        """,
    ),
    "de-phishing-bank": mail(
        "Ihr Konto wurde gesperrt. Bitte bestätigen Sie Ihre Daten.",
        sender='"Sparkasse Kundenservice" <service@sicher-login4.top>',
        to="karl.moser@kunde.example",
        subject="Wichtig! Ihr Konto wurde eingeschränkt",
        html="""
        <html><body><table width="600" bgcolor="#ff0000"><tr><td><img src="http://185.12.33.7/logo.png"></td></tr></table>
        <p>Sehr geehrter Kunde,</p><p>aufgrund ungewöhnlicher Aktivitäten wurde Ihr Konto gesperrt. Bitte bestätigen Sie
        umgehend Ihre Kontodaten, um eine dauerhafte Sperrung zu vermeiden. Sie haben 24 Stunden Zeit.</p>
        <p><a href="http://185.12.33.7/spk/login.php?id=karl.moser@kunde.example"><font size=4>www.sparkasse.de/login</font></a></p>
        <p>Klicken Sie hier, um Ihr Konto zu aktualisieren.</p></body></html>
        """,
    ),
    "de-phishing-parcel": mail(
        "Ihre Sendung konnte nicht zugestellt werden.",
        sender='"DHL Paket" <info@versand-status77.click>',
        to="karl.moser@kunde.example",
        subject="Ihre Sendung wartet: Zollgebühr 1,99 EUR offen!!",
        html="""
        <html><body><center><font color="#d40511" size=6>DHL</font><p>Ihr Paket wird zurückgehalten, weil die Zollgebühr
        von 1,99 € noch nicht bezahlt ist. Handeln Sie sofort, sonst geht die Sendung zurück.</p>
        <a href="https://bit.ly/3xYz91k"><b>Jetzt bezahlen</b></a></center></body></html>
        """,
    ),
    "en-advance-fee": mail(
        """
        Dear Friend,

        I am Barrister John Okafor, attorney to a late client who died in a plane crash with his entire family and left
        the sum of $18,500,000.00 USD (Eighteen Million Five Hundred Thousand United States Dollars) in a bank here in
        Lagos, Nigeria. I seek your consent to present you as the next of kin so that the fund can be transferred into
        your account. This transaction is strictly confidential and 100% risk free. You will receive 40% of the total
        sum. Kindly reply urgently with your full name, address and telephone number.

        God bless you,
        Barrister John Okafor
        """,
        sender='"BARRISTER JOHN OKAFOR" <john.okafor2291@gmail.com>',
        to="undisclosed-recipients:;",
        subject="URGENT BUSINESS PROPOSAL",
        Reply_To="barr.okafor@yahoo.com",
    ),
    "en-pills": mail(
        "Best prices",
        sender="Pharmacy Online <zjqxkv8831@hotmail.com>",
        subject="V1AGRA & C1alis 80% OFF!!! no prescription   xk29",
        html="""
        <html><body bgcolor="#ffffff"><center><font size=6 color=red>CANADIAN PHARMACY</font><br>Viagra $1.49 Cialis $1.99
        Buy now, special offer, satisfaction guaranteed!<br><a href="http://rxmeds.8812xqzpt.ru/?aff=77"><img
        src="http://rxmeds.8812xqzpt.ru/v.gif"></a><br><font size=1 color=#fefefe>garden mother yellow seven</font>
        <br>To be removed from our list click <a href="http://rxmeds.8812xqzpt.ru/rm">here</a></center></body></html>
        """,
    ),
    "en-extortion": mail(
        """
        Hello!

        I have bad news for you. Some months ago I hacked your device and installed a trojan. I recorded a video of you
        with your webcam while you were visiting adult sites and masturbating. Send $1,450 in bitcoin to my wallet:

        1BoatSLRHtKNngkdXEeobR76b53LETtpyT

        You have 48 hours. If I do not receive the payment, I will send the video to all your contacts immediately.
        """,
        sender="<you@kunde.example>",
        subject="I have recorded you",
    ),
}
